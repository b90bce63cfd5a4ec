"""How well "the documents do not say" tells questions apart, on two sets of documents.

    python benchmarks/unanswerable.py FOLDER QUESTIONS.jsonl

FOLDER and QUESTIONS.jsonl are documents about a company and questions that they answer (a `question` a line). The other
set is this project's own `docs`, with the questions below. Each set's questions are unanswerable on the other one;
those of `UNRELATED` are on both, and those of `NEARBY` ask what a company's documents might say, and do not.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

UNRELATED = (
    "What is the boiling point of ethanol?",
    "Who painted the ceiling of the Sistine Chapel?",
    "How many moons does Saturn have?",
    "What is the capital of Mongolia?",
    "How do I bake a sourdough loaf without a Dutch oven?",
    "Which planet has the longest day?",
    "When did the Berlin Wall fall?",
    "What is the speed of light in water?",
    "Who wrote One Hundred Years of Solitude?",
    "How deep is the Mariana Trench?",
    "What are the rules of castling in chess?",
    "How long should I boil an egg for a soft yolk?",
    "Which vitamins does spinach contain?",
    "What is the atomic number of tungsten?",
    "Who won the football world cup in 1998?",
    "How do whales sleep?",
    "What is the difference between a fugue and a canon?",
    "How do I remove red wine from a carpet?",
    "What does photosynthesis produce?",
    "Which languages are spoken in Switzerland?",
    "How far is the Moon from the Earth?",
    "What causes the northern lights?",
    "Who discovered penicillin?",
    "How do I tune a guitar to drop D?",
    "What is the tallest building in Chicago?",
    "When is the best time to plant tulips?",
    "What is a Fibonacci sequence?",
    "How does a heat pump work?",
    "Who was the first emperor of China?",
    "What is the recipe for kimchi?",
)

NEARBY = (
    "What is the company's policy on bringing pets to the office?",
    "How many days of parental leave do employees get in Germany?",
    "Which airline does the company use for business travel?",
    "What is the wifi password of the headquarters?",
    "Who is the company's data protection officer?",
    "What was the company's carbon footprint last year?",
    "Does the company offer a bicycle leasing scheme?",
    "Which bank holds the company's payroll account?",
    "What is the dress code for client visits?",
    "How do I reset my password for the expense tool?",
    "Who supplies the coffee machines in the office?",
    "What does travel insurance for a trip to Japan cost?",
    "How many patents does the company hold?",
    "What is the deadline for submitting expense reports?",
    "Which law firm represents the company in court?",
    "What is the maximum reimbursement for home office furniture?",
    "Is there a company gym?",
    "What is the stock ticker of the company?",
    "How many employees work in the Tokyo office?",
    "Which programming style guide must contractors follow?",
    "What is the refund policy for cancelled webinars?",
    "Who won the internal hackathon this spring?",
    "What is the parking fee at the main building?",
    "How is overtime on public holidays paid?",
    "Which antivirus software is installed on laptops?",
    "When is the next fire drill?",
    "What is the emergency phone number for IT security incidents?",
    "Does the cafeteria serve vegan meals?",
    "What is the notice period for apprentices?",
    "Who approves purchases above 50,000 euros?",
)

ON_DOCS = (
    "How do I continue the latest conversation in the terminal?",
    "Which file formats can conversations be exported to?",
    "What does whet compare do when it is stopped in the middle?",
    "How are intervals of a metric computed?",
    "What counts as a tie between two techniques?",
    "How do I see the exact prompt of the last answer?",
    "Which tokenizers can be compared?",
    "What is the default model?",
    "How can I attach a system prompt from a file?",
    "What happens when a conversation does not fit the context?",
    "How do I list the tokens of a text with their ids?",
    "How is a chat imported from ChatGPT?",
    "What does the loss mask show?",
    "Which techniques need no language model?",
    "How do I score how likely a text is under a model?",
    "What is written in the rejects file?",
    "How fast is the first token?",
    "How do I check that a tokenizer gives the same ids as another engine?",
    "What does the option --test-all do?",
    "Which metric decides for label problems?",
)

THRESHOLDS = (0.15, 0.2, 0.25, 0.3, 0.35, 0.4)


def certainties(folder: Path, name: str, asked: dict[str, Sequence[str]]) -> dict[str, list[float]]:
    """The certainty of every question on the documents of a folder."""
    from whetstone.embeddings import load_embedder
    from whetstone.retrieval.confidence import Confidence
    from whetstone.retrieval.library import open_store
    from whetstone.retrieval.search import Search
    from whetstone.retrieval.sync import sync

    store, embedder = open_store(name), load_embedder()
    sync(store, folder, embedder=embedder, spec="minilm")
    search, sure = Search(store, embedder), Confidence(store, lambda: embedder)
    found = {kind: [sure(text, search.find(text, 10)) for text in texts] for kind, texts in asked.items()}
    store.close()
    return found


def main(folder: Path, questions: Path) -> None:
    """Print the share of questions that are let through, by threshold."""
    on_folder = [json.loads(line)["question"] for line in questions.read_text("utf-8").splitlines() if line.strip()]
    docs = Path(__file__).parents[1] / "docs"
    with tempfile.TemporaryDirectory() as home:
        os.environ["WHETSTONE_HOME"] = home
        first = {"answerable": on_folder, "nearby": NEARBY, "unrelated": UNRELATED, "of the other": ON_DOCS}
        second = {"answerable": ON_DOCS, "nearby": NEARBY, "unrelated": UNRELATED, "of the other": on_folder}
        rows = {
            f"{name}: {kind} ({len(values)})": values
            for name, where, asked in (("company", folder, first), ("docs", docs, second))
            for kind, values in certainties(where, name, asked).items()
        }
    print(f"{'questions let through':<32}" + "".join(f"{threshold:>8}" for threshold in THRESHOLDS))
    for name, values in rows.items():
        shares = [sum(value >= threshold for value in values) / len(values) for threshold in THRESHOLDS]
        print(f"{name:<32}" + "".join(f"{share:>8.0%}" for share in shares))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python benchmarks/unanswerable.py FOLDER QUESTIONS.jsonl")
    main(Path(sys.argv[1]), Path(sys.argv[2]))
