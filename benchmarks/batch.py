"""1,000 queries in one batch, against one by one. Needs the store that ``build.py`` leaves."""

import sys
import time

from common import OURS, queries, report

from ruie_components import DemonstrationStore, Selector


def main(count: int) -> None:
    asked = queries(count)
    with DemonstrationStore.open(OURS) as store:
        for method in ("similarity", "label-vote"):
            selector = Selector(method, k=8)
            selector.select_many(store, asked[:5])
            begin = time.perf_counter()
            alone = [selector.select(store, query) for query in asked]
            single = time.perf_counter() - begin
            begin = time.perf_counter()
            together = selector.select_many(store, asked)
            batch = time.perf_counter() - begin
            agree = sum(one == other for one, other in zip(alone, together, strict=True)) / count
            figures = {"batch": count / batch, "single": count / single, "agree": agree}
            report(f"batch {method}, queries/s", single / batch, "at least 2.5", **figures)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
