"""What the button and the shell ask for: `up` and `down`, as part of the same decision. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from scaler.deciding.demand import bars
from scaler.deciding.room import Room
from scaler.deciding.standing import Phase, Standing, terminate
from scaler.model import (
    Command,
    Down,
    InstanceState,
    Memory,
    Plan,
    Reason,
    Scope,
    Snapshot,
    Subject,
    Up,
    Verdict,
    View,
)
from scaler.settings.config import Config

FORCE = "--force (in the action, force: true) ends it all the same"


def bring_up(config: Config, snapshot: Snapshot, memory: Memory, asks: Sequence[Up], *, blind: str) -> Plan:
    """Launch what was asked for, as far as the caps allow; every runner asked for gets a verdict."""
    room = Room(config, snapshot, memory, by_hand=True)
    why_barred = bars(config, snapshot)
    commands: list[Command] = []
    verdicts = []
    for ask in asks:
        pool = config.pool(ask.pool)
        if pool is None:
            raise ValueError(f"no pool {ask.pool}")  # the inputs are checked before anything is observed
        for number in range(1, ask.count + 1):
            name = f"{ask.pool} {number} of {ask.count}"
            refusal = room.refusal(pool)
            refusal = _blind(snapshot, ask.scope, blind) or why_barred(ask.scope) or refusal
            if refusal is not None:
                verdicts.append(_verdict(Subject.REQUEST, name, ask.scope, ask.pool, *refusal))
                continue
            launch = room.take(pool, ask.scope, Reason.ASKED, f"asked for by hand, for {ask.scope}")
            commands.append(launch)
            sentence = f"launching into slot {launch.slot} of pool {ask.pool}"
            verdicts.append(_verdict(Subject.REQUEST, name, ask.scope, ask.pool, Reason.LAUNCHING, sentence))
    return Plan(tuple(commands), tuple(verdicts))


def _blind(snapshot: Snapshot, scope: Scope, blind: str) -> tuple[Reason, str] | None:
    if blind:
        return Reason.SUPPLY_UNSEEN, blind
    if not snapshot.sees(View.RUNNERS, scope):
        sentence = f"the runners of {scope} could not be seen, so none could be registered; nothing is launched"
        return Reason.SUPPLY_UNSEEN, sentence
    return None


def bring_down(snapshot: Snapshot, stands: Sequence[Standing], asks: Sequence[Down]) -> Plan:
    """End what was asked for: ours alone, not busy unless forced; what EC2 lists no more is done."""
    by_id = {standing.instance.id: standing for standing in stands}
    commands: list[Command] = []
    verdicts = []
    for ask in asks:
        standing = by_id.get(ask.instance_id)
        reason, sentence = _why_not(snapshot, standing, ask) or (Reason.ASKED, "asked for by hand")
        scope: Scope = standing.scope or "" if standing else ""
        pool = standing.instance.pool if standing else ""
        verdicts.append(_verdict(Subject.INSTANCE, ask.instance_id, scope, pool, reason, sentence))
        if standing is None or reason is not Reason.ASKED:
            continue
        commands.append(terminate(standing, Reason.ASKED, sentence, force=ask.force))
    return Plan(tuple(commands), tuple(verdicts))


def _why_not(snapshot: Snapshot, standing: Standing | None, ask: Down) -> tuple[Reason, str] | None:
    if ask.instance_id in snapshot.strangers:
        return Reason.REFUSED, f"{ask.instance_id} is not in this fleet (no tag of ours); refused"
    if standing is None:
        if not snapshot.sees(View.INSTANCES):
            return Reason.UNKNOWN, "the instances could not be seen; nothing is ended"
        # A new instance may be missing from EC2's lists for a while.
        sentence = f"EC2 lists no living {ask.instance_id}: it has ended, never was, or was launched just now"
        return Reason.GONE, sentence
    if standing.instance.hold:
        return Reason.HELD, f"{ask.instance_id} has a hold tag; remove the tag first"
    if standing.instance.state is InstanceState.STOPPED or ask.force:
        return None
    if standing.phase is Phase.UNKNOWN:
        return Reason.UNKNOWN, f"whether it runs a job could not be seen; try again; {FORCE}"
    if standing.phase is Phase.BUSY:
        job = f'"{standing.job.name}" (run {standing.job.run_id})' if standing.job else "a job"
        return Reason.BUSY, f"{ask.instance_id} runs {job}; {FORCE}"
    return None


def _verdict(subject: Subject, name: str, scope: Scope, pool: str, reason: Reason, sentence: str) -> Verdict:
    return Verdict(subject, name, name, scope, pool, reason, sentence)
