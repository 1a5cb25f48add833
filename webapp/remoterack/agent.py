# SPDX-License-Identifier: Apache-2.0
"""The threads of a rack: follow the region, fetch in advance, report, verify."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import structlog

from webapp.errors import Problem
from webapp.remoterack import names
from webapp.remoterack.booting import HeldBoot
from webapp.remoterack.errors import RackProblem
from webapp.remoterack.events import EventLog
from webapp.remoterack.filling import Fills, Wanted
from webapp.remoterack.following import KEY_PATH, KeptTrees, SignedTree, Trust, read_tree
from webapp.remoterack.holding import Holding
from webapp.remoterack.region import WAIT_S, Enrolment, Region
from webapp.remoterack.reporting import Reporter
from webapp.remoterack.state import RackSettings, State
from webapp.remoterack.trees import HeldTrees
from webapp.remoterack.upstreams import Upstreams

log = structlog.get_logger(__name__)

POLL_S = 1.5  # between looks at the tree without a region to ask
AGAIN_S = 2.0  # after a region or a tree that failed
PATIENT_LOOKS = 4  # at upstreams that are behind, before the region itself is asked
REMOVED_S = 60.0  # between questions of a rack that its region doesn't know
TIDY_S = 60.0  # between looks for files that no name means any more
REFILL_S = 5.0  # after a file that couldn't be fetched in advance


class Agent:
    """Keeps a rack in step with its region; every thread ends with ``close``."""

    def __init__(
        self,
        *,
        region: Region | None,
        enrol: Callable[[], Enrolment | None],
        enrolment: Enrolment | None,
        trust: Trust,
        kept: KeptTrees,
        trees: HeldTrees,
        boot: HeldBoot,
        upstreams: Upstreams,
        roots: Callable[[RackSettings, str], tuple[str, ...]],
        region_root: Callable[[str], str],
        holding: Holding,
        fills: Fills,
        state: State,
        events: EventLog,
        serving: Callable[[], list[dict[str, object]]],
        status: Path,
    ) -> None:
        self._region, self._enrol, self._enrolment = region, enrol, enrolment
        self._trust, self._kept, self._trees, self._boot = trust, kept, trees, boot
        self._upstreams, self._roots, self._region_root = upstreams, roots, region_root
        self._holding, self._fills, self._state = holding, fills, state
        self._looks = 0  # at upstreams, since they were seen to be behind the region
        self._offered = (0, 0)  # state and serial of the tree in force
        self._stopped, self._work = threading.Event(), threading.Event()
        self._verify = threading.Event()
        self._reporter = Reporter(
            region, lambda: self._enrolment, state, events, holding, self.wanted, serving,
            status,
        )  # fmt: skip
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin; in the process that serves, since threads don't live through a fork."""
        self._choose_upstreams()
        self._verify.set()
        self._work.set()
        for run in (self._follow, self._fetch_in_advance, self._report, self._check):
            thread = threading.Thread(target=run, name=run.__name__, daemon=True)
            thread.start()
            self._threads.append(thread)

    def close(self) -> None:
        """End all threads and keep what they know."""
        self._stopped.set()
        self._work.set()
        self._verify.set()
        self._fills.close()
        for thread in self._threads[1:]:  # the first may wait for its region
            thread.join(2.0)
        self._reporter.keep()

    def wanted(self) -> list[Wanted]:
        """What is fetched in advance."""
        tree, chosen = self._trees.tree, self._state.settings
        if tree is None:
            return []
        images = names.in_advance(tree.document.sets, chosen.mode, chosen.images)
        wanted = (*self._boot.wanted(), *images)
        return list({one.sha256: one for one in wanted}.values())

    # -- following

    def _follow(self) -> None:
        after = 0
        while not self._stopped.is_set():
            try:
                after = self._follow_once(after)
            except Problem as problem:
                self._note_trouble(problem)
                removed = isinstance(problem, RackProblem) and problem.code == "rack-token"
                self._stopped.wait(REMOVED_S if removed else AGAIN_S)
                after = 0
            except Exception:
                log.exception("following the region failed")
                self._stopped.wait(AGAIN_S)

    def _follow_once(self, after: int) -> int:
        """One look at the region; the state that was reached. Raises Problem."""
        if self._region is not None and self._enrolment is None:
            self._enrolment = self._enrol()
            self._choose_upstreams()
        if self._region is None or self._enrolment is None:
            self._update()
            self._state.trouble = ""
            self._stopped.wait(POLL_S)
            return 0
        try:
            answer = self._region.next(self._enrolment.credential, after, WAIT_S)
        except RackProblem as problem:
            if problem.code != "rack-token":
                self._update()  # another upstream may have a newer tree
            raise
        self._state.trouble = ""
        self._move(str(answer.get("mirror_path", "")))
        self._obey(RackSettings.read(answer.get("settings", {}), RackSettings()))
        number, serial = int(answer.get("state", 0)), int(answer.get("serial", 0))
        index = str(answer.get("index_sha256", ""))
        held = self._trees.tree
        if index and (held is None or held.index_sha256 != index):
            self._looks += 1
            self._update(index if self._looks > PATIENT_LOOKS else "")
            held = self._trees.tree
        if index and (held is None or held.index_sha256 != index):
            # Replaced in the meantime, or an upstream that's behind: ask again soon.
            self._stopped.wait(AGAIN_S / 4)
            return after
        self._looks = 0
        self._offered = (number, serial)
        self._work.set()
        self._stopped.wait(float(answer.get("again_s", 0) or 0))
        return number

    def _update(self, index: str = "") -> None:
        """Read the tree from the first upstream that answers. Raises Problem.

        index: the signed index that the region has, where none of those that answer first had it;
        then all are asked, the region itself last (rule: kept-images).
        """
        problem: Problem | None = None
        for upstream in self._upstreams.and_region() if index else self._upstreams.all():
            try:
                tree = read_tree(
                    upstream.root,
                    upstream.fetcher,
                    self._trust,
                    self._trees.tree,
                    is_enrolled=bool(upstream.route.secret),
                )
            except Problem as found:
                problem = found
                continue
            if tree is not None:
                self._accept(tree)
            if not index or (tree is not None and tree.index_sha256 == index):
                return
        if problem is not None:
            raise problem

    def _accept(self, tree: SignedTree) -> None:
        self._kept.save(tree)
        self._trust.learn(tree.documents[KEY_PATH])
        self._trees.replace(tree, datetime.now(UTC))
        self._boot.refresh()
        log.info("the region's tree was read", updated=tree.updated.isoformat())
        self._work.set()

    def _obey(self, settings: RackSettings) -> None:
        """Use settings that the region changed."""
        before, self._state.settings = self._state.settings, settings
        if settings != before:
            log.info("the region changed the settings of this rack", mode=settings.mode)
            self._choose_upstreams()
            self._state.save()
            self._work.set()
        if settings.verify != self._state.verified:
            self._verify.set()

    def _move(self, path: str) -> None:
        """Use the address that the region's mirror has now."""
        if path.startswith("/") and path != self._state.mirror_path:
            self._state.mirror_path = path
            self._choose_upstreams()
            self._state.save()

    def _choose_upstreams(self) -> None:
        first = self._enrolment.mirror_path if self._enrolment else "/mirror/"
        path = self._state.mirror_path or first
        self._upstreams.choose(self._roots(self._state.settings, path), self._region_root(path))

    def _note_trouble(self, problem: Problem) -> None:
        if self._state.trouble != problem.what:
            log.warning("the rack can't follow its region", **problem.as_dict())
            # Whoever sees it on the region's page has to know what to do on the rack.
            step = f" {problem.next_step}" if problem.code == "rack-key" else ""
            self._state.note(problem.what + step)
        self._state.trouble = problem.what

    # -- fetching in advance

    def _fetch_in_advance(self) -> None:
        while not self._stopped.is_set():
            self._work.wait(TIDY_S)
            self._work.clear()
            try:
                offered, is_done = self._offered, self._fetch_all()
                self.tidy()
            except Exception:
                log.exception("fetching in advance failed")
                is_done = False
            if is_done and offered != (0, 0):
                self._state.held_state, self._state.held_serial = offered
            if not is_done and not self._stopped.is_set():
                self._work.wait(REFILL_S)
                self._work.set()

    def _fetch_all(self) -> bool:
        """Fetch what's missing of what is wanted in advance; whether nothing is."""
        limit, total, is_done = self._state.settings.max_bytes, 0, True
        loaders = {one.sha256 for one in self._boot.wanted()}
        self._holding.kept = frozenset(loaders)
        for wanted in self.wanted():
            total += wanted.size
            if limit is not None and total > limit:
                self._state.note(
                    "The size limit is too small for everything that's fetched in advance."
                )
                return is_done
            if self._stopped.is_set():
                return False
            if self._holding.has(wanted.sha256):
                continue
            fill = self._fills.get(wanted)
            if isinstance(fill, Problem):
                is_done = False
                continue
            while not fill.wait_over(1.0) and not self._stopped.is_set():
                pass
            is_done = is_done and fill.is_complete
            if wanted.sha256 in loaders:
                self._boot.refresh()
        return is_done

    def tidy(self) -> None:
        """Remove what no name means any more."""
        if self._trees.tree is None:
            return
        named = names.digests(self._trees.names()).keys() | self._holding.kept
        unwanted = {one for one in self._holding.digests() if one not in named}
        self._holding.make_room(0, None, unwanted)
        coming = {fill.wanted.sha256 for fill in self._fills.running()}
        self._holding.drop_unfinished(named | coming)

    def make_room(self, size: int) -> None:
        """For a file that is about to be fetched."""
        limit = self._state.settings.max_bytes
        if limit is not None:
            coming = sum(fill.wanted.size for fill in self._fills.running())
            self._holding.make_room(max(size, coming), limit, ())

    # -- reporting and verifying

    def _report(self) -> None:
        while not self._stopped.wait(1.0):
            try:
                self._reporter.tick(time.monotonic())
            except RackProblem as problem:
                self._note_trouble(problem)
            except Exception:
                log.exception("reporting failed")

    def _check(self) -> None:
        while not self._stopped.is_set():
            self._verify.wait()
            self._verify.clear()
            asked = self._state.settings.verify
            try:
                wrong = self._holding.verify(self._stopped.is_set)
            except Exception:
                log.exception("the store could not be verified")
                self._stopped.wait(REFILL_S)
                continue
            if self._stopped.is_set():
                return
            for sha256 in wrong:
                self._state.note(f"A stored file was damaged and is being fetched again: {sha256}")
            self._state.verified = asked
            self._state.verified_at = datetime.now(UTC).isoformat(timespec="seconds")
            self._state.save()
            if wrong:
                self._work.set()
