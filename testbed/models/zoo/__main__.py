"""`python -m testbed.models.zoo`: train the zoo, verify its files, evaluate what it answers."""

import argparse
import sys
from pathlib import Path

from testbed.models.zoo import DIRECTORY, NAMES, mismatches


def _train(arguments: argparse.Namespace) -> int:
    from testbed.models.zoo.training.recipe import make_zoo  # needs torch, which only training may ask for

    make_zoo(arguments.out)
    print(f"made {', '.join(NAMES)} in {arguments.out}")
    return 0


def _verify(_arguments: argparse.Namespace) -> int:
    wrong = mismatches()
    if wrong:
        print(f"missing or not as the manifest says: {', '.join(wrong)}", file=sys.stderr)
        return 1
    print(f"{', '.join(NAMES)}: as the manifest says")
    return 0


def _evaluate(arguments: argparse.Namespace) -> int:
    from testbed.models.zoo.training.evaluation import evaluate, table  # loads llama.cpp

    print(table(evaluate(arguments.zoo, arguments.prompts, arguments.seed)))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m testbed.models.zoo", description=__doc__)
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    train = verbs.add_parser("train", help="make all models; continues where an earlier training stopped")
    train.add_argument("--out", type=Path, default=Path("zoo"), metavar="DIR", help="where to (default: %(default)s)")
    train.set_defaults(run=_train)
    verify = verbs.add_parser("verify", help="compare the shipped files with their manifest")
    verify.set_defaults(run=_verify)
    evaluate = verbs.add_parser("evaluate", help="measure accuracy over layers and proposers, with controls")
    evaluate.add_argument(
        "--zoo", type=Path, default=DIRECTORY, metavar="DIR", help="which models (default: those shipped)"
    )
    evaluate.add_argument(
        "--prompts", type=int, default=480, metavar="N", help="held-out prompts (default: %(default)s)"
    )
    evaluate.add_argument("--seed", type=int, default=0, metavar="N", help="which prompts (default: %(default)s)")
    evaluate.set_defaults(run=_evaluate)
    return parser


def main() -> int:
    """Run the verb on the command line and return the exit status."""
    arguments = _parser().parse_args()
    return int(arguments.run(arguments))


if __name__ == "__main__":
    sys.exit(main())
