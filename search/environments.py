"""The environments that are searched: small fleets, and which misfortunes befall them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from scaler.deciding.memory import encode
from scaler.model import Market, Memory, Up
from scaler.settings.config import Config, LaunchTemplate, Pool, RegisterAt, Registration
from scaler.settings.shard import WHOLE, Shard
from search.explore import HAND_OVER_POINTS, SLOW_POINTS, Environment
from search.world import SCOPE, Left


def fleet(*pools: Pool, max_runners: int = 9, repository: str = SCOPE, shard: Shard = WHOLE) -> Config:
    """A fleet of one repository, or a shard of one."""
    return Config(
        path="config.yaml",
        fleet="main",
        region="us-east-1",
        role=None,
        register_at=RegisterAt.REPOSITORY,
        organization=None,
        runner_group=None,
        repositories=(repository,),
        max_runners=max_runners,
        pools=pools,
        allow_public=False,
        tags={},
        warnings=(),
        shard=shard,
    )


def shards(*pools: Pool) -> tuple[Config, ...]:
    """Two shards of a fleet, of a repository each."""
    one, other = (Shard(number, 2) for number in (1, 2))
    names = (SCOPE, next(name for name in map("acme/r{}".format, range(64)) if other.has(name) != other.has(SCOPE)))
    return tuple(fleet(*pools, repository=next(filter(each.has, names)), shard=each) for each in (one, other))


def pool(
    most: int,
    *,
    name: str = "x",
    version: str = "1",
    markets: tuple[Market, ...] = (Market.ON_DEMAND,),
    boot: int = 10,
    types: tuple[str, ...] = (),
) -> Pool:
    """A pool of `most` slots."""
    return Pool(
        name=name,
        arch="amd64",
        labels=(name,),
        launch_template=LaunchTemplate(None, "runner", version),
        instance_types=types,
        subnets=(),
        markets=markets,
        max=most,
        min_idle=0,
        ephemeral=True,
        registration=Registration.JIT,
        boot_timeout=timedelta(minutes=boot),
        idle_timeout=timedelta(minutes=5),
        max_lifetime=timedelta(hours=6),
    )


ONE = (fleet(pool(1)),)
BEFORE_MIDNIGHT = 12 * 60 - 1
KNOWN = encode(Memory(start=7))
"""The state parameter of a fleet that was there before."""
BOTH = (Market.SPOT, Market.ON_DEMAND)
UP = ((), (Up("x", SCOPE, 1),))
FEWER = (2, 1)

STALE = Environment("stale lists, crashes, deaths", ONE, Left(deaths=2, crashes=1))
EDITED = Environment(
    "the config is edited", (fleet(pool(1)), fleet(pool(1, version="2"))), Left(deaths=1, edits=1, jumps=(11,)), FEWER
)
REFUSED = Environment("launches are rejected", ONE, Left(deaths=1, refused=1))
QUEUES = Environment("queues seen differently", ONE, Left(deaths=1), queues=((1, 2), (2,)))
ENVIRONMENTS = (
    STALE,
    Environment("the hint stale or unreadable", ONE, Left(deaths=1, hints=2)),
    Environment("the hint lost", ONE, Left(deaths=1, losses=1, hints=1), FEWER),
    Environment("boot_timeout passes", ONE, Left(deaths=1, crashes=1, jumps=(11,))),
    Environment("slow ticks", ONE, Left(jumps=(5, 5)), FEWER, points=SLOW_POINTS),
    Environment("slow ticks, boot_timeout 1m", (fleet(pool(1, boot=1)),), Left(jumps=(4, 4))),
    Environment("a day passes", ONE, Left(deaths=1, hints=1, jumps=(24 * 60,))),
    Environment("midnight passes", ONE, Left(deaths=1, hints=1, jumps=(2,)), FEWER, time=BEFORE_MIDNIGHT, state=KNOWN),
    Environment("midnight, and no state yet", ONE, Left(jumps=(2,)), time=BEFORE_MIDNIGHT),
    EDITED,
    Environment("max is raised", (fleet(pool(1)), fleet(pool(2, version="2"))), Left(deaths=1, edits=1), FEWER),
    Environment("max is lowered", (fleet(pool(2)), fleet(pool(1))), Left(deaths=1, edits=1), FEWER),
    Environment("no capacity", (fleet(pool(1, markets=BOTH)),), Left(deaths=1, empty=2)),
    Environment(
        "no capacity, and minutes pass", (fleet(pool(1, markets=BOTH)),), Left(deaths=1, empty=1, jumps=(4,)), FEWER
    ),
    Environment(
        "no capacity of one type",
        (fleet(pool(1, markets=BOTH, types=("a", "b"))),),
        Left(deaths=1, empty=1, hints=1),
        FEWER,
    ),
    REFUSED,
    Environment("lost answers", ONE, Left(deaths=1, lost=1, crashes=1)),
    QUEUES,
    Environment("two jobs, two slots", (fleet(pool(2)),), Left(deaths=1), FEWER),
    Environment("one job, two slots", (fleet(pool(2)),), Left(deaths=1, crashes=1), queues=((1,),)),
    Environment("one job, two slots, no death", (fleet(pool(2)),), Left(crashes=2), queues=((1,),)),
    Environment("hand-over races", ONE, Left(jumps=(1,), crashes=1), FEWER, points=HAND_OVER_POINTS),
    Environment("hand-over races, lost answers", ONE, Left(jumps=(1,), lost=1), FEWER, points=HAND_OVER_POINTS),
    Environment("up beside auto", ONE, Left(deaths=1, crashes=1), asks=UP),
    Environment(
        "max_runners below the sum",
        (fleet(pool(1, name="x"), pool(1, name="y"), max_runners=1),),
        Left(deaths=1),
        FEWER,
        queues=((1,), (2,)),
    ),
    Environment("two shards, one slot", shards(pool(1)), Left(deaths=1, crashes=1), queues=((1,),), shards=True),
    Environment("two shards, two slots", shards(pool(2)), Left(deaths=1), FEWER, shards=True),
    Environment("two shards, the hint stale", shards(pool(1)), Left(deaths=1, hints=1), queues=((1,),), shards=True),
)
ASSUMED_AWAY = (
    Environment("EC2 forgets a token within minutes", ONE, Left(deaths=1, forgets=1), FEWER),
    Environment(
        "a fleet of nothing leaves its token", (fleet(pool(1, markets=BOTH)),), Left(empty=1), empty_spends=False
    ),
    Environment("the state is deleted, a day old", ONE, Left(losses=1, jumps=(24 * 60,))),
)
"""Here the shipped scheme is expected to exceed a cap: each is an assumption, and shows that it is needed."""


def more(environment: Environment) -> Environment:
    """The same with two ticks of each process, and one more death."""
    left = environment.left
    return replace(environment, passes=(2, 2), left=left._replace(deaths=left.deaths + 1))
