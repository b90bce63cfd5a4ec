"""Problems from rows: files, frames and datasets read, bad rows set aside, split once, fingerprinted, frozen.

build          the front door: build_problem
readers        one door to rows; behind it opening, delimited, jsonfiles, columnar, hub, gathering, cells
rows           columns mapped (columns), true answers checked (targets), bad rows set aside (rejects)
division       train, validation, test (split), groups kept together (duplicates)
cases          cases over columns
fingerprint    what makes two problems the same
freeze         a problem's test cases as two files
catalogues     packaged real rows
"""
