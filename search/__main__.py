"""`python -m search`: a table of states and of states over a cap, for each environment and scheme."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor

from search import environments, schemes
from search.environments import ASSUMED_AWAY, ENVIRONMENTS
from search.explore import Environment, Found, Search

BAD_IN = (environments.STALE, environments.QUEUES, environments.EDITED, environments.REFUSED)
"""Where the other schemes are tried: each of them is bad in one of these at least."""
ENOUGH = 100_000
"""States of a bad scheme after which no more are looked at: they are many, and it is bad long before."""
COLUMNS = ("states", "over", "doubled", "spare", "rehanded")


def rows() -> Iterator[tuple[str, str]]:
    """What is searched: environments and schemes, by name."""
    for environment in (*ENVIRONMENTS, *ASSUMED_AWAY):
        yield environment.name, schemes.SHIPPED.name
    for scheme in schemes.SCHEMES[1:]:
        for environment in BAD_IN:
            yield environment.name, scheme.name


def search(environment: str, scheme: str, *, deep: bool = False, trace: str = "") -> Found:
    """One row. By names, since another process does it."""
    place: Environment = next(e for e in (*ENVIRONMENTS, *ASSUMED_AWAY) if e.name == environment)
    way = next(s for s in schemes.SCHEMES if s.name == scheme)
    most = None if way is schemes.SHIPPED else ENOUGH
    return Search(environments.more(place) if deep else place, way).run(most, trace=trace)


def main() -> int:
    """Print the table; 1 if the shipped scheme is over a cap, or a bad one is never found to be."""
    parser = argparse.ArgumentParser(prog="python -m search", description=__doc__)
    parser.add_argument("--deep", action="store_true", help="two ticks of each process, one more death (hours)")
    parser.add_argument("--only", default="", help="environments whose name contains this")
    parser.add_argument("--trace", nargs="?", const="over", choices=COLUMNS[1:], help="the shortest schedule to one")
    parser.add_argument("--scheme", default="", help="schemes whose name contains this")
    asked = parser.parse_args()
    wanted = [(e, s) for e, s in rows() if asked.only in e and asked.scheme in s]
    if asked.trace:
        for environment, scheme in wanted:
            found = search(environment, scheme, deep=asked.deep, trace=asked.trace)
            print(f"{environment}, {scheme}:", *(found.trace or ["none"]), sep="\n  ")
        return 0
    print(f"{'environment':34} {'scheme':45}" + "".join(f"{column:>10}" for column in COLUMNS), flush=True)
    with ProcessPoolExecutor(min(os.cpu_count() or 1, 4)) as pool:
        ahead = [(e, s, pool.submit(search, e, s, deep=asked.deep)) for e, s in wanted]
        return verdict(ahead)


def verdict(ahead: list[tuple[str, str, Future[Found]]]) -> int:
    """Print each row as it comes, then what they mean."""
    assumed = {environment.name for environment in ASSUMED_AWAY}
    over, overshoot = dict.fromkeys((scheme for _, scheme, _ in ahead), 0), 0
    for environment, scheme, future in ahead:
        found = future.result()
        states = f"{found.states}{'' if found.complete else '+'}"
        numbers = (states, *(getattr(found, column) for column in COLUMNS[1:]))
        print(f"{environment:34} {scheme:45}" + "".join(f"{number:>10}" for number in numbers), flush=True)
        over[scheme] += 0 if environment in assumed else found.over + found.doubled
        overshoot = max(overshoot, found.fleet if scheme == schemes.SHIPPED.name else 0)
    print(f"\nmax_runners below the sum of the pools' max is exceeded by {overshoot} at most.")
    bad = [scheme for scheme, count in over.items() if (count > 0) is (scheme == schemes.SHIPPED.name)]
    print(f"Not as expected: {', '.join(bad)}." if bad else "As expected: the shipped scheme holds, the others do not.")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
