"""Office files, PDFs and mails built by hand, as small as programs accept them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape, quoteattr

_HEAD = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_OFFICE = "http://schemas.openxmlformats.org"
_TYPES = f"{_OFFICE}/package/2006/content-types"
_LINKS = f"{_OFFICE}/officeDocument/2006/relationships"
_W = f"{_OFFICE}/wordprocessingml/2006/main"
_S = f"{_OFFICE}/spreadsheetml/2006/main"
_P = f"{_OFFICE}/presentationml/2006/main"
_A = f"{_OFFICE}/drawingml/2006/main"
_MAIN = "application/vnd.openxmlformats-officedocument"


def zipped(parts: Mapping[str, str | bytes]) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return held.getvalue()


def _package(main: str, overrides: Mapping[str, str], parts: Mapping[str, str], title: str, author: str) -> bytes:
    types = "".join(f'<Override PartName="/{name}" ContentType="{kind}"/>' for name, kind in overrides.items())
    core = "application/vnd.openxmlformats-package.core-properties+xml"
    return zipped(
        {
            "[Content_Types].xml": f'{_HEAD}<Types xmlns="{_TYPES}"><Default Extension="rels" ContentType="application/'
            f'vnd.openxmlformats-package.relationships+xml"/><Default Extension="xml" ContentType="application/xml"/>'
            f'{types}<Override PartName="/docProps/core.xml" ContentType="{core}"/></Types>',
            "_rels/.rels": _links(
                {
                    "rId1": (f"{_LINKS}/officeDocument", main),
                    "rId2": (f"{_OFFICE}/package/2006/relationships/metadata/core-properties", "docProps/core.xml"),
                }
            ),
            "docProps/core.xml": f'{_HEAD}<cp:coreProperties xmlns:cp="{_OFFICE}/package/2006/metadata/core-properties"'
            f' xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>{escape(title)}</dc:title>'
            f"<dc:creator>{escape(author)}</dc:creator></cp:coreProperties>",
            **parts,
        }
    )


def _links(links: Mapping[str, tuple[str, str]]) -> str:
    rows = "".join(f'<Relationship Id="{key}" Type="{kind}" Target="{to}"/>' for key, (kind, to) in links.items())
    return f'{_HEAD}<Relationships xmlns="{_OFFICE}/package/2006/relationships">{rows}</Relationships>'


def docx(body: Sequence[tuple[str, str] | list[list[str]]], title: str = "", author: str = "") -> bytes:
    """A Word document of paragraphs, each (style, text) with "" for the normal style, and of tables."""
    xml = "".join(_word_table(part) if isinstance(part, list) else _word_paragraph(*part) for part in body)
    styles = "".join(
        f'<w:style w:type="paragraph" w:styleId="Heading{n}"><w:name w:val="heading {n}"/><w:pPr>'
        f'<w:outlineLvl w:val="{n - 1}"/></w:pPr></w:style>'
        for n in range(1, 7)
    )
    return _package(
        "word/document.xml",
        {
            "word/document.xml": f"{_MAIN}.wordprocessingml.document.main+xml",
            "word/styles.xml": f"{_MAIN}.wordprocessingml.styles+xml",
        },
        {
            "word/document.xml": f'{_HEAD}<w:document xmlns:w="{_W}"><w:body>{xml}<w:sectPr/></w:body></w:document>',
            "word/styles.xml": f'{_HEAD}<w:styles xmlns:w="{_W}">{styles}</w:styles>',
            "word/_rels/document.xml.rels": _links({"rId1": (f"{_LINKS}/styles", "styles.xml")}),
        },
        title,
        author,
    )


def _word_paragraph(style: str, text: str) -> str:
    styled = f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>' if style else ""
    return f'<w:p>{styled}<w:r><w:t xml:space="preserve">{escape(text)}</w:t></w:r></w:p>'


def _word_table(rows: list[list[str]]) -> str:
    lines = ("".join(f"<w:tc>{_word_paragraph('', cell)}</w:tc>" for cell in row) for row in rows)
    return f"<w:tbl><w:tblPr/>{''.join(f'<w:tr>{line}</w:tr>' for line in lines)}</w:tbl>"


def pptx(slides: Sequence[tuple[str, str]], title: str = "") -> bytes:
    """A presentation of slides, each with its title and a text."""
    overrides = {"ppt/presentation.xml": f"{_MAIN}.presentationml.presentation.main+xml"}
    parts: dict[str, str] = {}
    links: dict[str, tuple[str, str]] = {}
    ids = ""
    for number, (heading, text) in enumerate(slides, start=1):
        name = f"slides/slide{number}.xml"
        overrides[f"ppt/{name}"] = f"{_MAIN}.presentationml.slide+xml"
        links[f"rId{number}"] = (f"{_LINKS}/slide", name)
        ids += f'<p:sldId id="{255 + number}" r:id="rId{number}"/>'
        shapes = _shape(2, '<p:ph type="title"/>', heading) + _shape(3, '<p:ph idx="1"/>', text)
        parts[f"ppt/{name}"] = (
            f'{_HEAD}<p:sld xmlns:a="{_A}" xmlns:r="{_LINKS}" xmlns:p="{_P}"><p:cSld><p:spTree><p:nvGrpSpPr>'
            f'<p:cNvPr id="1" name=""/><p:cNvGrpSpPr/><p:nvPr/></p:nvGrpSpPr><p:grpSpPr/>{shapes}</p:spTree></p:cSld>'
            "</p:sld>"
        )
    parts["ppt/presentation.xml"] = (
        f'{_HEAD}<p:presentation xmlns:a="{_A}" xmlns:r="{_LINKS}" xmlns:p="{_P}"><p:sldIdLst>{ids}</p:sldIdLst>'
        "</p:presentation>"
    )
    parts["ppt/_rels/presentation.xml.rels"] = _links(links)
    return _package("ppt/presentation.xml", overrides, parts, title, "")


def _shape(number: int, kind: str, text: str) -> str:
    paragraphs = "".join(f"<a:p><a:r><a:t>{escape(line)}</a:t></a:r></a:p>" for line in text.split("\n"))
    return (
        f'<p:sp><p:nvSpPr><p:cNvPr id="{number}" name="Shape {number}"/><p:cNvSpPr/><p:nvPr>{kind}</p:nvPr></p:nvSpPr>'
        f"<p:spPr/><p:txBody><a:bodyPr/>{paragraphs}</p:txBody></p:sp>"
    )


def xlsx(sheets: Mapping[str, Sequence[Sequence[object]]], title: str = "") -> bytes:
    """A workbook; texts as shared strings, numbers as such, True and False as truth values, None as no cell.

    A value ("2024-03-01", 45352) of two is a date: what it reads as, and its serial number.
    """
    shared: dict[str, int] = {}
    overrides = {
        "xl/workbook.xml": f"{_MAIN}.spreadsheetml.sheet.main+xml",
        "xl/sharedStrings.xml": f"{_MAIN}.spreadsheetml.sharedStrings+xml",
        "xl/styles.xml": f"{_MAIN}.spreadsheetml.styles+xml",
    }
    links = {
        "rIdS": (f"{_LINKS}/sharedStrings", "sharedStrings.xml"),
        "rIdT": (f"{_LINKS}/styles", "styles.xml"),
    }
    parts: dict[str, str] = {}
    listed = ""
    for number, (name, rows) in enumerate(sheets.items(), start=1):
        file = f"worksheets/sheet{number}.xml"
        overrides[f"xl/{file}"] = f"{_MAIN}.spreadsheetml.worksheet+xml"
        links[f"rId{number}"] = (f"{_LINKS}/worksheet", file)
        listed += f'<sheet name={quoteattr(name)} sheetId="{number}" r:id="rId{number}"/>'
        xml = ""
        for at, row in enumerate(rows, start=1):
            cells = (_cell(f"{chr(64 + column)}{at}", value, shared) for column, value in enumerate(row, start=1))
            xml += f'<row r="{at}">{"".join(cells)}</row>'
        parts[f"xl/{file}"] = f'{_HEAD}<worksheet xmlns="{_S}"><sheetData>{xml}</sheetData></worksheet>'
    texts = "".join(f'<si><t xml:space="preserve">{escape(text)}</t></si>' for text in shared)
    parts["xl/workbook.xml"] = f'{_HEAD}<workbook xmlns="{_S}" xmlns:r="{_LINKS}"><sheets>{listed}</sheets></workbook>'
    parts["xl/_rels/workbook.xml.rels"] = _links(links)
    parts["xl/sharedStrings.xml"] = f'{_HEAD}<sst xmlns="{_S}">{texts}</sst>'
    parts["xl/styles.xml"] = (
        f'{_HEAD}<styleSheet xmlns="{_S}"><fonts count="1"><font/></fonts><fills count="1"><fill/></fills>'
        '<borders count="1"><border/></borders><cellStyleXfs count="1"><xf/></cellStyleXfs><cellXfs count="2"><xf/>'
        '<xf numFmtId="14" applyNumberFormat="1"/></cellXfs></styleSheet>'
    )
    return _package("xl/workbook.xml", overrides, parts, title, "")


def _cell(place: str, value: object, shared: dict[str, int]) -> str:
    match value:
        case None:
            return ""
        case bool():
            return f'<c r="{place}" t="b"><v>{int(value)}</v></c>'
        case int() | float():
            return f'<c r="{place}"><v>{value}</v></c>'
        case (_, serial):
            return f'<c r="{place}" s="1"><v>{serial}</v></c>'
    return f'<c r="{place}" t="s"><v>{shared.setdefault(str(value), len(shared))}</v></c>'


def pdf(pages: Sequence[Sequence[tuple[int, str]]], title: str = "", encrypted: bool = False) -> bytes:
    """A PDF of pages, each of lines (size in points, text), in Helvetica and Latin letters."""
    objects: list[bytes] = [b"<</Type/Catalog/Pages 2 0 R>>", b"", b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"]
    kids = []
    for lines in pages:
        y, drawn = 780, []
        for size, text in lines:
            y -= size + 12
            shown = text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
            drawn.append(f"BT /F1 {size} Tf 60 {y} Td ({shown}) Tj ET")
        stream = "\n".join(drawn).encode("cp1252")
        objects.append(b"<</Length %d>>\nstream\n%s\nendstream" % (len(stream), stream))
        objects.append(
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Resources<</Font<</F1 3 0 R>>>>/Contents %d 0 R>>"
            % len(objects)
        )
        kids.append(len(objects))
    objects[1] = f"<</Type/Pages/Kids[{' '.join(f'{kid} 0 R' for kid in kids)}]/Count {len(kids)}>>".encode()
    objects.append(f"<</Title({title})>>".encode("cp1252"))
    trailer = f"/Info {len(objects)} 0 R"
    if encrypted:  # by a user password that nobody has
        objects.append(b"<</Filter/Standard/V 1/R 2/O<%s>/U<%s>/P -44>>" % (b"5a" * 32, b"a5" * 32))
        trailer += f"/Encrypt {len(objects)} 0 R/ID[<{'00' * 16}><{'00' * 16}>]"
    out = io.BytesIO(b"%PDF-1.4\n")
    out.seek(0, io.SEEK_END)
    places = []
    for number, content in enumerate(objects, start=1):
        places.append(out.tell())
        out.write(b"%d 0 obj\n%s\nendobj\n" % (number, content))
    table = out.tell()
    out.write(b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1))
    out.write(b"".join(b"%010d 00000 n \n" % place for place in places))
    out.write(f"trailer\n<</Size {len(objects) + 1}/Root 1 0 R{trailer}>>\nstartxref\n{table}\n%%EOF\n".encode())
    return out.getvalue()
