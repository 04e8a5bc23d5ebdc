"""The tables of tests/faults/README.md."""
import os

README = os.path.join(os.path.dirname(os.path.abspath(__file__)), "README.md")


def write_table(table):
    """Puts a Markdown table in the place of the one with the same header."""
    with open(README) as file:
        text = file.read()
    begin = text.index(table.split("\n", 1)[0])
    end = text.find("\n\n", begin)
    with open(README, "w") as file:
        file.write(text[:begin] + table + (text[end:] if end >= 0 else "\n"))
