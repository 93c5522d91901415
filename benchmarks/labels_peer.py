"""One peer of benchmarks/labels.py, run by the Python of its own environment; it imports nothing of ours.

Reads lines of JSON on stdin: first the rules, then reports; answers each with one line on stdout.
"""

import json
import sys
import time
from importlib.metadata import version
from typing import Any

STATES = ("present", "uncertain", "absent")


def medspacy(rules: list[dict[str, str]]) -> Any:
    import medspacy as peer
    from medspacy.ner import TargetRule

    nlp = peer.load()
    matcher = nlp.get_pipe("medspacy_target_matcher")
    matcher.add([TargetRule(rule["words"], rule["finding"]) for rule in rules])
    return nlp


def negspacy(rules: list[dict[str, str]]) -> Any:
    import negspacy.negation  # noqa: F401 - registers the component
    import spacy

    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    ruler = nlp.add_pipe("entity_ruler", config={"phrase_matcher_attr": "LOWER"})
    ruler.add_patterns([{"label": rule["finding"], "pattern": rule["words"]} for rule in rules])
    nlp.add_pipe("negex", config={"ent_types": sorted({rule["finding"] for rule in rules})})
    return nlp


def of_medspacy(found: Any) -> str:
    own = found._
    if own.is_negated or own.is_historical or own.is_family or own.is_hypothetical:
        return "absent"
    return "uncertain" if own.is_uncertain else "present"


def of_negspacy(found: Any) -> str:
    return "absent" if found._.negex else "present"


def states(document: Any, state_of: Any) -> dict[str, str]:
    """Return the gravest state of each finding that is named."""
    out: dict[str, str] = {}
    for found in document.ents:
        state = state_of(found)
        before = out.get(found.label_, state)
        out[found.label_] = min(before, state, key=STATES.index)
    return out


def main() -> None:
    name = sys.argv[1]
    build, state_of = {"medspacy": (medspacy, of_medspacy), "negspacy": (negspacy, of_negspacy)}[name]
    nlp = build(json.loads(sys.stdin.readline()))
    print(json.dumps({"version": version(name)}), flush=True)
    for line in sys.stdin:
        texts = json.loads(line)
        begun = time.process_time()
        told = [states(nlp(text), state_of) for text in texts]
        print(json.dumps({"seconds": time.process_time() - begun, "states": told}), flush=True)


if __name__ == "__main__":
    main()
