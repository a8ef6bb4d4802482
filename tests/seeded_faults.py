"""
Faults put in by hand, in the spirit of the predecessor's (docs/lineage.md), and the tests that should catch each.

`make mutants` puts each into a copy of the tree, where one of its tests has to fail. Here are above all those that
mutmut cannot make: orders, limits that are constants, whole rules left out, lies of an adapter.
"""

from __future__ import annotations

from typing import NamedTuple

ACT, DECIDE, TOLD = "tests/test_act.py", "tests/test_decide.py::test_commands", "tests/test_told.py"
BY_HAND = "tests/test_decide.py::test_by_hand"
BREAKER, DEGRADED = "tests/test_breaker.py", "tests/test_degraded.py"
END_TO_END, CANCELLED = "tests/test_end_to_end.py", "tests/test_action_cancelled.py"
STOPPED = "tests/test_watch.py::test_a_watch_that_is_stopped_ends_with_the_tick_that_it_is_in"


class Fault(NamedTuple):
    """`old` stands in `file` exactly once; with `new` in its place one of `tests` fails."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def applied(self, source: str) -> str:
        """The file with the fault in it."""
        if source.count(self.old) != 1:
            raise ValueError(f"{self.name}: its old text stands {source.count(self.old)} times in {self.file}")
        return source.replace(self.old, self.new)


ACTING = (
    Fault(
        "an instance is ended before its runner is deregistered (RG-05)",
        "scaler/act.py",
        "        if command.runner_id is not None:\n            removal =",
        "        self._cloud.terminate(command.instance_id)\n"
        "        if command.runner_id is not None:\n            removal =",
        (ACT, "tests/test_by_hand.py::test_down_deregisters_then_terminates"),
    ),
    Fault(
        "DELETE's 422 does not keep an instance",
        "scaler/act.py",
        "if removal is Removal.BUSY and not command.force:",
        "if removal is None:",
        (ACT,),
    ),
    Fault(
        "DELETE's 422 does not end a drain",
        "scaler/act.py",
        "if removal is not Removal.BUSY:",
        "if removal is not None:",
        (ACT, "tests/test_scale_down.py::test_a_runner_that_took_a_job_since_it_was_seen_is_kept_by_the_422"),
    ),
    Fault(
        "a drain deletes before it marks",
        "scaler/act.py",
        '        self._tag(command.instance_id, "draining-since", _stamp(self._github))\n'
        "        removal = self._remove_runner(command.scope, command.runner_id)\n",
        "        removal = self._remove_runner(command.scope, command.runner_id)\n"
        '        self._tag(command.instance_id, "draining-since", _stamp(self._github))\n',
        (ACT,),
    ),
    Fault(
        "a refused drain leaves the runner marked as idle",
        "scaler/act.py",
        '        self._tag(command.instance_id, "idle-since", None)\n',
        "",
        (ACT, "tests/test_scale_down.py::test_a_runner_that_took_a_job_since_it_was_seen_is_kept_by_the_422"),
    ),
    Fault(
        "a secret is minted before the launch (RG-32)",
        "scaler/acting/launching.py",
        "        try:\n            answer = self._cloud.launch(",
        "        self._hands._token(command.scope)\n        try:\n            answer = self._cloud.launch(",
        (ACT,),
    ),
    Fault(
        "the scope tag is written before the put",
        "scaler/acting/hand_over.py",
        "        try:\n            ours = self._cloud.put_parameter(",
        '        self._cloud.tag(instance_id, "scope", scope)\n        try:\n            ours = self._cloud.put_parameter(',
        (ACT,),
    ),
    Fault(
        "a secret is not masked (RG-60)", "scaler/acting/hand_over.py", "        self._mask(secret.value)\n", "", (ACT,)
    ),
    Fault(
        "a launch whose answer was lost is tried again under the next link (RG-21)",
        "scaler/acting/launching.py",
        '            failed, way = failed_by(command, error), on_the_way(attempt, "")\n',
        "            return replace(attempt, link=attempt.link + 1, calls=calls)\n",
        (ACT, f"{END_TO_END}::test_a_launch_whose_answer_was_lost_is_not_launched_again"),
    ),
    Fault(
        "a dead instance behind a link is handed over",
        "scaler/acting/launching.py",
        "elif step.instance_id in found and not found[step.instance_id].state.alive:",
        "elif False:",
        (ACT, f"{END_TO_END}::test_a_replay_after_the_death_is_a_spent_link"),
    ),
    Fault(
        "whoever put second believes to have handed over",
        "scaler/acting/hand_over.py",
        "        if not ours:\n",
        "        if False:\n",
        (ACT,),
    ),
    Fault(
        "what was minted for a put that failed stays",
        "scaler/acting/hand_over.py",
        "        except ApiError:\n            self._take_back(scope, secret)\n            raise\n",
        "        except ApiError:\n            raise\n",
        (ACT,),
    ),
    Fault(
        "a launch is begun though it is late",
        "scaler/acting/launching.py",
        "        if self._late():\n            return on_the_way",
        "        if False:\n            return on_the_way",
        (ACT,),
    ),
    Fault("an end is begun though it is late", "scaler/act.py", "elif late():", "elif False:", (ACT,)),
    Fault(
        "a plan never grows too old (RG-06)",
        "scaler/reconcile.py",
        "clock.stopping() or clock.monotonic() - began > PLAN_LIFE.total_seconds()",
        "clock.stopping()",
        (ACT,),
    ),
    Fault(
        "a state that could not be read is overwritten",
        "scaler/act.py",
        "        if not snapshot.sees(View.STATE):\n",
        "        if False:\n",
        (ACT,),
    ),
    Fault(
        "who may not put launches all the same (RG-03)",
        "scaler/acting/launching.py",
        "            return [failed_by(launch, error) for launch in launches]\n",
        "            return []\n",
        (ACT,),
    ),
    Fault(
        "a drain deletes nothing",
        "scaler/act.py",
        '        self._tag(command.instance_id, "draining-since", _stamp(self._github))\n'
        "        removal = self._remove_runner(command.scope, command.runner_id)\n",
        '        self._tag(command.instance_id, "draining-since", _stamp(self._github))\n'
        "        removal = Removal.REMOVED\n",
        (ACT,),
    ),
)
ADAPTERS = (
    Fault(
        "a client token is random (RG-21)",
        "scaler/aws/fleet.py",
        '        "ClientToken": client_token(config.fleet, pool.name, slot, link),',
        '        "ClientToken": __import__("uuid").uuid4().hex,',
        (ACT,),
    ),
    Fault(
        "a secret is put over another's",
        "scaler/aws/api.py",
        "        except _AlreadyExistsError:\n            found =",
        "        except _AlreadyExistsError:\n            self._ssm.put_parameter(Name=name, Value=value, Overwrite=True)\n"
        "            return True\n            found =",
        (ACT,),
    ),
    Fault(
        "a put whose answer was lost is taken for another's (RG-33)",
        "scaler/aws/api.py",
        '            return any(row.get("Description") == description for row in found)',
        "            return False",
        (f"{END_TO_END}::test_a_put_whose_answer_was_lost_is_known_for_its_own", ACT),
    ),
    Fault(
        "page 2 of GitHub's lists is dropped (RG-14, RG-17)",
        "scaler/github/rest.py",
        "                total = page.total  # the last one counts\n            if len(rows) == total:",
        "                total = page.total  # the last one counts\n                break\n            if rows:",
        (
            f"{END_TO_END}::test_what_stands_behind_the_first_page_of_a_list_is_seen",
            f"{END_TO_END}::test_a_runner_behind_the_first_page_is_seen",
        ),
    ),
    Fault(
        "total_count is not checked",
        "scaler/github/rest.py",
        "            if len(rows) == total:",
        "            if len(rows) <= total:",
        (f"{DEGRADED}::test_what_could_not_be_seen_whole_is_left_alone",),
    ),
    Fault(
        "404 means that there is nothing",
        "scaler/github/rest.py",
        "    if status != expected:\n        raise",
        "    if status == 404:\n"
        '        return {"total_count": 0, "workflow_runs": [], "jobs": [], "runners": []}\n'
        "    if status != expected:\n        raise",
        (f"{DEGRADED}::test_one_missing_repository_does_not_stop_the_others",),
    ),
    Fault(
        "a removal that found nobody is a busy runner",
        "scaler/github/api.py",
        "        if answer[0] == 404:\n            return Removal.GONE",
        "        if answer[0] == 404:\n            return Removal.BUSY",
        (ACT,),
    ),
    Fault(
        "labels are compared by case",
        "scaler/github/api.py",
        "    return frozenset(name.lower() for name in names)",
        "    return frozenset(names)",
        ("tests/test_github_api.py", "tests/test_recorded_shape.py", "tests/test_real_input.py"),
    ),
    Fault(
        "jobs of runs in progress are not looked at (RG-16)",
        "scaler/observing/queues.py",
        'ACTIVE = ("queued", "in_progress")',
        'ACTIVE = ("queued",)',
        (f"{END_TO_END}::test_a_queued_job_of_a_run_in_progress_is_seen",),
    ),
    Fault(
        "an offline runner is online (RG-08)",
        "scaler/github/api.py",
        'scope, status == "online", busy',
        "scope, True, busy",
        ("tests/test_scale_down.py::test_a_machine_that_hangs_at_boot_is_ended_and_its_job_served_by_another",),
    ),
)
OBSERVING = (
    Fault(
        "jobs are read before runners",
        "scaler/observe.py",
        "        runners = self._runners([scope for scope in scopes if scope in wanted], instances)\n"
        "        served = self._served()\n        queues = self._queues.look(turns)\n",
        "        queues = self._queues.look(turns)\n        served = self._served()\n"
        "        runners = self._runners([scope for scope in scopes if scope in wanted], instances)\n",
        ("tests/test_observe.py",),
    ),
    Fault(
        "one repository's failure aborts the tick (RG-25)",
        "scaler/observing/views.py",
        "                self._not_seen(View.QUEUE, repository, queue)\n",
        "                raise queue\n",
        (f"{DEGRADED}::test_one_missing_repository_does_not_stop_the_others",),
    ),
    Fault(
        "an empty list of runners is believed",
        "scaler/observing/views.py",
        "            if registered and not runners[scope]:",
        "            if False:",
        (f"{DEGRADED}::test_what_could_not_be_seen_whole_is_left_alone",),
    ),
    Fault(
        "clocks apart are not noticed",
        "scaler/observing/views.py",
        "SKEW = timedelta(minutes=2)",
        "SKEW = timedelta(days=2)",
        ("tests/test_observe.py",),
    ),
    Fault(
        "a stranger's instance is ended by down (RG-35)",
        "scaler/observe.py",
        "            if found[1] == self._config.fleet:",
        "            if True:",
        ("tests/test_by_hand.py::test_down_refuses_what_is_not_ours",),
    ),
    Fault(
        "what could not be read is an empty answer",
        "scaler/observing/views.py",
        "        denied = isinstance(error, Denied)\n",
        "        return\n",
        ("tests/test_observe.py",),
    ),
)
SEEING = (
    Fault(
        "a running job does not make its runner busy",
        "scaler/deciding/standing.py",
        "    if standing.job is not None:\n        # The jobs",
        "    if False:\n        # The jobs",
        (DECIDE,),
    ),
    Fault(
        "an unseen scope is an empty one",
        "scaler/deciding/standing.py",
        "    if not seen:\n        return Phase.UNKNOWN\n",
        "",
        (DECIDE,),
    ),
    Fault(
        "an offline runner is idle (RG-07)",
        "scaler/deciding/standing.py",
        "    if runner is not None and runner.online:",
        "    if runner is not None:",
        (DECIDE,),
    ),
    Fault(
        "of two records of one name the dead one counts",
        "scaler/deciding/standing.py",
        "key=lambda r: (r.online, r.busy)",
        "key=lambda r: (not r.online, r.busy)",
        (DECIDE,),
    ),
    Fault(
        "an instance that was handed to nobody has the whole of boot_timeout",
        "scaler/deciding/standing.py",
        "return limits if self.handed_over else",
        "return limits if True else",
        (DECIDE,),
    ),
    Fault(
        "an instance that cannot be seen serves nobody",
        "scaler/deciding/standing.py",
        "            return self.scope is not None or self.age < self.limits.boot_timeout",
        "            return False",
        (DECIDE,),
    ),
    Fault(
        "a runner of any name is ours (RG-26)",
        "scaler/deciding/standing.py",
        '    return rest != runner_name and rest.startswith("i-")',
        '    return True or rest.startswith("i-")',
        ("tests/test_decide.py",),
    ),
    Fault(
        "every scope counts as seen",
        "scaler/deciding/standing.py",
        "        return not (scope in self._blind or self._may_be_missing(scope)) and self._shard.has(scope)\n",
        "        return True\n",
        (DECIDE,),
    ),
)
LAUNCHING = (
    Fault(
        "with the instances unseen it launches",
        "scaler/decide.py",
        "    blind = why_blind(snapshot, memory)\n",
        '    blind = ""\n',
        (DECIDE,),
    ),
    Fault(
        "an image is not told of before GitHub refuses it",
        "scaler/deciding/freshness.py",
        "until - now > NOTICE",
        "until > now",
        ("tests/test_freshness.py",),
    ),
    Fault(
        "a lost job is run again whenever it is lost",
        "scaler/deciding/losses.py",
        "not pool.rerun_lost or loss.attempt != 1 or",
        "not pool.rerun_lost or",
        ("tests/test_losses.py",),
    ),
    Fault(
        "a job whose machine powered itself off is run again",
        "scaler/deciding/losses.py",
        '    return instance.ended_by.startswith("Server.")\n',
        "    return bool(instance.ended_by)\n",
        ("tests/test_losses.py",),
    ),
    Fault(
        "what was refused is asked for again at once",
        "scaler/deciding/offerings.py",
        "if now - when < REFUSED_FOR}",
        "if now - when < timedelta()}",
        (DECIDE,),
    ),
    Fault(
        "a link that was used is asked for on other terms",
        "scaler/deciding/room.py",
        "        before = known.terms if known is not None and again else None\n",
        "        before = None\n",
        ("tests/test_capacity.py",),
    ),
    Fault(
        "booting instances are not counted (RG-04)",
        "scaler/deciding/standing.py",
        "        return self.phase in (Phase.IDLE, Phase.BOOTING)",
        "        return self.phase is Phase.IDLE",
        (DECIDE,),
    ),
    Fault(
        "an instance is handed over by others at once",
        "scaler/decide.py",
        "HAND_OVER_GRACE = timedelta(seconds=90)",
        "HAND_OVER_GRACE = timedelta(0)",
        (TOLD,),
    ),
    Fault(
        "some of a job's labels are enough (RG-18)",
        "scaler/deciding/demand.py",
        "if labels and labels <= frozenset(pool.labels)]",
        "if labels & frozenset(pool.labels)]",
        (DECIDE,),
    ),
    Fault(
        "a public repository is served (RG-66)",
        "scaler/deciding/demand.py",
        "    if repository in snapshot.public and not config.allow_public:",
        "    if False:",
        (DECIDE,),
    ),
    Fault(
        "max counts slots, not instances (RG-24)",
        "scaler/deciding/room.py",
        "    return free[: max(0, pool.max - len(mine))]",
        "    return free",
        (DECIDE,),
    ),
    Fault("max_runners is not counted (RG-24)", "scaler/deciding/room.py", "        self._fleet -= 1\n", "", (DECIDE,)),
    Fault(
        "the hour's budget is not counted",
        "scaler/deciding/room.py",
        "        self._hour -= 1\n",
        "",
        (f"{BREAKER}::test_the_hours_budget_holds_to_the_last_launch",),
    ),
    Fault(
        "the breaker never opens (RG-03)",
        "scaler/deciding/breaker.py",
        "    if failures < BREAKER_FAILURES and before.opened_at is None:\n",
        "    if before.opened_at is None:\n",
        ("tests/test_decide.py",),
    ),
    Fault(
        "the breaker never lets one through",
        "scaler/deciding/breaker.py",
        "return int(not tried and",
        "return 0 and int(not tried and",
        (DECIDE,),
    ),
    Fault(
        "the breaker never closes",
        "scaler/deciding/breaker.py",
        "        if latest is not None and latest > breaker.since - CLOCKS_APART:",
        "        if False:",
        (f"{BREAKER}::test_what_becomes_of_a_row_of_launches", "tests/test_decide.py"),
    ),
    Fault(
        "the fleet's last place is never taken",
        "scaler/deciding/room.py",
        "        if self._fleet <= 0:",
        "        if self._fleet <= 1:",
        (DECIDE,),
    ),
)
ENDING = (
    Fault(
        "a held instance is terminated",
        "scaler/deciding/lifecycle.py",
        "        commands = [command for command in commands if command not in ends]\n        reason, sentence = Reason.HELD",
        "        reason, sentence = Reason.HELD",
        (DECIDE,),
    ),
    Fault(
        "by force a held instance is ended",
        "scaler/deciding/by_hand.py",
        "    if standing.instance.hold:",
        "    if standing.instance.hold and not ask.force:",
        (BY_HAND,),
    ),
    Fault(
        "taking a job does not end idleness",
        "scaler/deciding/lifecycle.py",
        '    if standing.instance.idle_since is not None:\n        commands.append(_tag(standing, "idle-since", None',
        '    if False:\n        commands.append(_tag(standing, "idle-since", None',
        (DECIDE,),
    ),
    Fault(
        "one observation of idleness is enough (RG-07)",
        "scaler/deciding/lifecycle.py",
        '        return Reason.IDLE, "idle since this tick", commands\n    idle = snapshot.now - instance.idle_since\n',
        "        commands.clear()\n    idle = snapshot.now - (instance.idle_since or instance.launched_at)\n",
        (DECIDE,),
    ),
    Fault(
        "a runner that a queued job could use is drained",
        "scaler/deciding/lifecycle.py",
        '    if any(wanted <= runner.labels for wanted in demand.wanted.get(standing.scope or "", ())):',
        "    if False:",
        (DECIDE,),
    ),
    Fault(
        "a shallow look drains",
        "scaler/deciding/lifecycle.py",
        "    if idle < limit or not snapshot.looked_deep(standing.scope):",
        "    if idle < limit:",
        (DECIDE,),
    ),
    Fault(
        "a runner group that serves strangers does not stop scale-down",
        "scaler/deciding/lifecycle.py",
        'not snapshot.sees(View.GROUP, standing.scope or ""):',
        "False:",
        (DECIDE,),
    ),
    Fault(
        "an orphan is ended when it is first seen",
        "scaler/deciding/lifecycle.py",
        "    marked = standing.instance.draining_since\n",
        "    marked = standing.instance.draining_since or standing.instance.launched_at\n",
        (DECIDE,),
    ),
    Fault(
        "a drained instance gets no time to end itself",
        "scaler/deciding/lifecycle.py",
        "DRAIN_WINDOW = timedelta(minutes=2)",
        "DRAIN_WINDOW = timedelta(0)",
        (DECIDE,),
    ),
    Fault(
        "a starved scope drains another's runner at once",
        "scaler/deciding/lifecycle.py",
        "STARVED_IDLE = timedelta(minutes=2)",
        "STARVED_IDLE = timedelta(0)",
        (DECIDE,),
    ),
    Fault(
        "max_lifetime does not count where GitHub cannot be seen (RG-23)",
        "scaler/deciding/lifecycle.py",
        "LIFETIME_GRACE and snapshot.sees(View.CLOCK):",
        "LIFETIME_GRACE and snapshot.sees(View.CLOCK) and standing.phase is not Phase.UNKNOWN:",
        (DECIDE,),
    ),
    Fault(
        "at max_lifetime the machine gets no time to end itself",
        "scaler/deciding/lifecycle.py",
        "LIFETIME_GRACE = timedelta(minutes=10)",
        "LIFETIME_GRACE = timedelta(0)",
        (DECIDE,),
    ),
    Fault(
        "a ghost is deregistered when it is first seen",
        "scaler/deciding/lifecycle.py",
        "    if known >= SETTLED:",
        "    if known >= timedelta(0):",
        (DECIDE,),
    ),
    Fault(
        "with the instances unseen every runner is a ghost",
        "scaler/deciding/lifecycle.py",
        "    if not snapshot.sees(View.INSTANCES) or not snapshot.deep:\n",
        "    if not snapshot.deep:\n",
        (DECIDE,),
    ),
    Fault(
        "with the instances unseen every parameter is stale",
        "scaler/deciding/lifecycle.py",
        "    if not snapshot.sees(View.INSTANCES) or not snapshot.sees(View.CLOCK)",
        "    if not snapshot.sees(View.CLOCK)",
        (DECIDE,),
    ),
    Fault(
        "a parameter whose instance is gone stays",
        "scaler/deciding/lifecycle.py",
        "        if standing is None and age >= SETTLED:",
        "        if False:",
        (DECIDE,),
    ),
    Fault(
        "a parameter is never too old",
        "scaler/deciding/lifecycle.py",
        "        elif age >= PARAMETER_AGE:",
        "        elif False:",
        (DECIDE,),
    ),
    Fault(
        "down ends a busy one without force",
        "scaler/deciding/by_hand.py",
        "    if standing.phase is Phase.BUSY:",
        "    if False:",
        (BY_HAND,),
    ),
    Fault(
        "a watch that sees nothing does not pause (RG-02)",
        "scaler/reconcile.py",
        "            clock.sleep(began + every.total_seconds() - now)\n",
        "",
        (f"{DEGRADED}::test_a_watch_that_sees_nothing_keeps_its_pace_and_its_end",),
    ),
    Fault(
        "what could not be seen is no failure (RG-28)",
        "scaler/exits.py",
        "    if unseen or Result.FAILED in results",
        "    if Result.FAILED in results",
        (f"{DEGRADED}::test_instances_unseen_nothing_is_launched",),
    ),
)
HOSTILE, WHEELS = "tests/test_action_hostile.py", "tests/test_wheels.py"
AROUND = f"{WHEELS}::test_nothing_of_the_directory_or_the_home_is_run_and_no_setting_of_the_image_is_followed"
CHECKOUT = f"{HOSTILE}::test_nothing_of_the_checkout_is_run_and_no_setting_of_the_image_is_followed"
WHOLE = f"{WHEELS}::test_an_environment_is_whole_or_made_anew_and_one_pythons_and_leaves_no_other_file"
INSTALLING = (
    Fault(
        "what the image says to Python reaches the program",
        "action.yml",
        '        unset "${!PYTHON@}"\n',
        "",
        (CHECKOUT,),
    ),
    Fault(
        "the program is looked for in the checkout first",
        "action.yml",
        " -P -m scaler",
        " -m scaler",
        (CHECKOUT,),
    ),
    Fault(
        "the image's locale says what can be printed",
        "action.yml",
        " -X utf8 -P",
        " -P",
        (f"{HOSTILE}::test_a_job_is_printed_whatever_the_locale_can",),
    ),
    Fault(
        "the step's shell stays between the runner and the program",
        "action.yml",
        'exec "${SCALER_PYTHON}"',
        '"${SCALER_PYTHON}"',
        (f"{CANCELLED}::test_a_watch_that_is_cancelled_ends_at_once",),
    ),
    Fault(
        "the image's settings of Python and pip are followed",
        "scripts/install-action.sh",
        "unset_foreign_settings\nlog=",
        "log=",
        (AROUND,),
    ),
    Fault(
        "the image's settings of Python are followed",
        "scripts/python.sh",
        'for name in "${!PYTHON@}" "${!PIP_@}"; do',
        'for name in "${!PIP_@}"; do',
        (AROUND,),
    ),
    Fault(
        "the image's settings of pip are followed",
        "scripts/python.sh",
        'for name in "${!PYTHON@}" "${!PIP_@}"; do',
        'for name in "${!PYTHON@}"; do',
        (AROUND,),
    ),
    Fault(
        "the machine's word on its index is not kept",
        "scripts/python.sh",
        "PIP_CONFIG_FILE | PIP_INDEX_URL | ",
        "PIP_CONFIG_FILE | ",
        (f"{WHEELS}::test_the_machines_word_on_its_index_stays",),
    ),
    Fault(
        "the Python that is looked for runs the home's modules",
        "scripts/python.sh",
        '"$1" -I -c',
        '"$1" -c',
        (AROUND,),
    ),
    Fault(
        "wheels are unpacked with the home's modules",
        "scripts/install-action.sh",
        '"$1" -I "${root}',
        '"$1" "${root}',
        (AROUND,),
    ),
    Fault(
        "an environment is made by the directory's venv",
        "scripts/python.sh",
        '"${python}" -I -m venv',
        '"${python}" -m venv',
        (AROUND,),
    ),
    Fault(
        "pip is looked for in the directory",
        "scripts/python.sh",
        'if "${python}" -I -m pip',
        'if "${python}" -m pip',
        (AROUND,),
    ),
    Fault(
        "the directory's pip installs",
        "scripts/python.sh",
        'pip=("${python}" -I -m pip',
        'pip=("${python}" -m pip',
        (AROUND,),
    ),
    Fault(
        "the directory's ensurepip is run",
        "scripts/python.sh",
        '/bin/python" -I -m ensurepip',
        '/bin/python" -m ensurepip',
        (AROUND,),
    ),
    Fault(
        "the directory's pip installs where ensurepip brought one",
        "scripts/python.sh",
        '/bin/python" -I -m pip)',
        '/bin/python" -m pip)',
        (AROUND,),
    ),
    Fault(
        "a pip.conf has the packages installed into the home",
        "scripts/python.sh",
        "--no-input --no-user",
        "--no-input",
        (AROUND,),
    ),
    Fault(
        "a package is built from its source",
        "scripts/python.sh",
        "--no-deps --only-binary=:all:",
        "--no-deps",
        (f"{WHEELS}::test_nothing_is_built_from_source",),
    ),
    Fault(
        "what a cancelled job left of an environment is used",
        "scripts/install-action.sh",
        "! -e ${environment}/complete",
        "! -e ${environment}",
        (WHOLE,),
    ),
    Fault(
        "an environment is used by another Python",
        "scripts/install-action.sh",
        ' && echo "${python}"; }',
        "; }",
        (WHOLE,),
    ),
    Fault(
        "the installation's log stays behind",
        "scripts/install-action.sh",
        "trap 'rm -f \"${log}\"' EXIT\n",
        "",
        (WHOLE,),
    ),
)
STOPPING = (
    Fault(
        "SIGINT is not heard",
        "scaler/__main__.py",
        "    signal.signal(signal.SIGINT, stop)\n",
        "",
        (CANCELLED, f"{END_TO_END}::test_a_watch_that_is_stopped_ends_cleanly"),
    ),
    Fault(
        "SIGTERM is not heard",
        "scaler/__main__.py",
        "    signal.signal(signal.SIGTERM, stop)\n",
        "",
        (f"{END_TO_END}::test_a_watch_that_is_stopped_ends_cleanly",),
    ),
    Fault(
        "every signal is SIGINT",
        "scaler/__main__.py",
        "Exit.INTERRUPTED if number == signal.SIGINT else Exit.TERMINATED",
        "Exit.INTERRUPTED",
        (f"{END_TO_END}::test_a_watch_that_is_stopped_ends_cleanly",),
    ),
    Fault(
        "a process that was stopped ends as if it had not been",
        "scaler/__main__.py",
        "        return stopped[0]\n",
        "        return code\n",
        (f"{END_TO_END}::test_a_watch_that_is_stopped_ends_cleanly",),
    ),
    Fault(
        "a signal in the moment before a sleep is slept through",
        "scaler/__main__.py",
        "    signal.set_wakeup_fd(clock.wakeup, warn_on_full_buffer=False)\n",
        "",
        (f"{END_TO_END}::test_a_signal_is_heard_in_any_moment_of_a_sleep",),
    ),
    Fault(
        "a signal ends no sleep",
        "scaler/__main__.py",
        "        clock.stop()\n",
        "",
        (f"{END_TO_END}::test_a_watch_that_is_stopped_ends_cleanly",),
    ),
    Fault(
        "a stopped watch ticks once more",
        "scaler/reconcile.py",
        "            if clock.stopping():\n                return False\n",
        "",
        (STOPPED,),
    ),
    Fault(
        "a watch that was stopped in its tick sleeps first",
        "scaler/reconcile.py",
        " or clock.stopping():\n                return has_work",
        ":\n                return has_work",
        (STOPPED,),
    ),
    Fault(
        "a stopped watch hands over",
        "scaler/reconcile.py",
        "return has_work(tick) and not clock.stopping()",
        "return has_work(tick)",
        (STOPPED,),
    ),
    Fault(
        "a stopped tick begins further commands",
        "scaler/reconcile.py",
        "clock.stopping() or clock.monotonic() - began > PLAN_LIFE",
        "clock.monotonic() - began > PLAN_LIFE",
        ("tests/test_launching.py::test_a_stopped_tick_launches_nothing_more_and_hands_over_what_runs",),
    ),
    Fault(
        "who waits for runners cannot be stopped",
        "scaler/reconcile.py",
        "if not missing or clock.stopping() or",
        "if not missing or",
        ("tests/test_by_hand.py::test_a_wait_for_runners_can_be_stopped",),
    ),
    Fault(
        "a stopped look goes on asking GitHub",
        "scaler/github/budget.py",
        "            if self._clock.stopping():\n"
        '                raise NotAsked("GitHub: not asked: the process is to stop")\n',
        "",
        ("tests/test_budget.py::test_who_waits_for_a_minutes_points_can_be_stopped",),
    ),
)
FAULTS: tuple[Fault, ...] = (*ACTING, *ADAPTERS, *OBSERVING, *SEEING, *LAUNCHING, *ENDING, *INSTALLING, *STOPPING)
