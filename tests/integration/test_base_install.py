"""Index, adapt and extract need the base package alone. ``make test-base`` runs this without torch."""

import json
import subprocess
import sys

from ruie_components.starter import starter_examples

FLOW = """
import json, sys
sys.modules |= dict.fromkeys(["torch", "transformers", "sentence_transformers", "datasets", "sklearn", "numba", "onnx"])
from ruie_components.cli.app import main
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["ruie", *arguments]
    try:
        main()
    except SystemExit as left:
        assert not left.code, arguments
"""


def test_index_adapt_and_extract_run_without_torch(tmp_path):
    """In a process in which the packages of the extra [train] can't be imported."""
    examples = starter_examples("NER")
    rows, text = tmp_path / "rows.jsonl", examples[0].text
    rows.write_text("".join(json.dumps(each.to_row()) + "\n" for each in examples), "utf-8")
    commands = [
        ["index", str(rows), "--store", "pool", "--json"],
        ["adapt", "--store", "pool", "--steps", "5", "--json"],
        ["extract", text, "--store", "pool", "--model", "baseline", "--json"],
    ]
    command = [sys.executable, "-c", FLOW, json.dumps(commands)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    indexed, adapted, extracted = json.loads("[" + done.stdout.replace("}\n{", "},{") + "]")
    assert indexed["new"] == len(examples)
    assert adapted["gains"][0]["queries"] == len(examples)
    assert extracted["extraction"]["text"] == text
    assert extracted["demonstrations"]
