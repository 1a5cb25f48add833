# SPDX-License-Identifier: Apache-2.0
"""The outcome of an ESXi network plan as its page shows it."""

from __future__ import annotations

from dataclasses import dataclass

from webapp.numbers import counted
from webapp.severity import Severity
from webapp.vmware.model import Finding
from webapp.vmware.planned import HostPlan


@dataclass(frozen=True)
class PlanOutcome:
    """The notice above a plan, and its findings with the most serious first."""

    severity: Severity
    title: str
    text: str
    next_step: str
    findings: tuple[Finding, ...]


def plan_outcome(plan: HostPlan) -> PlanOutcome:
    """Sum up a plan: whether the host stays reachable, and what was changed."""
    findings = tuple(sorted(plan.findings, key=lambda one: one.severity.rank))
    severities = [one.severity for one in findings]
    errors = severities.count(Severity.ERROR)
    if not plan.is_promise:
        return PlanOutcome(
            Severity.ERROR,
            f"Host would be unreachable: {counted(errors, 'error')}",
            "",
            "Fix the errors below to see the commands.",
            findings,
        )
    has_warnings = Severity.WARN in severities
    reachable = f"Reachable at {plan.management}." if plan.management else "Not reachable."
    return PlanOutcome(
        Severity.WARN if has_warnings else Severity.OK,
        "All commands are valid" + (" (some settings changed)" if has_warnings else ""),
        reachable,
        "",
        findings,
    )
