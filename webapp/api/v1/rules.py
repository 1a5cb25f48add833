# SPDX-License-Identifier: Apache-2.0
"""``/rules``: rules that select images at each refresh."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from webapp.api.v1.callers import demand
from webapp.api.v1.dispatch import Call, PlainCall, Routes
from webapp.api.v1.run_items import StartedRunItem, started_item
from webapp.api.v1.schemas import Empty, Page, RequestModel, ResponseModel
from webapp.http.dispatch import MAX_ID
from webapp.models import SelectionRule
from webapp.services.accounts.rights import Right
from webapp.services.imports import rule_preview, runs
from webapp.services.imports.rule_preview import RulePreview
from webapp.services.sources import rules, ruling
from webapp.services.sources.ruling import Kind, Rule

routes = Routes("rules")

ONE = "/rules/<int:id>"


class RuleDraft(RequestModel):
    """What to select. Releases count that any of the architectures has.

    kind: newest-lts and newest take count; newest and every take os; pattern takes pattern.
    """

    kind: Kind
    os: str = Field("", max_length=ruling.MAX_NAME, description="Operating system, e.g. `centos`")
    count: int = Field(0, ge=0, le=ruling.MAX_COUNT)
    pattern: str = Field(
        "",
        max_length=ruling.MAX_PATTERN,
        description="Regular expression (RE2) for whole names, e.g. `ubuntu/(noble|jammy)`",
    )
    arches: list[str] = Field(["*"], min_length=1, max_length=ruling.MAX_LISTED)
    kernels: list[str] = Field(
        ["*"],
        min_length=1,
        max_length=ruling.MAX_LISTED,
        description="Names such as `hwe-24.04`, or families such as `ga` and `hwe-lowlatency`",
    )
    source_id: int | None = Field(
        None, ge=1, le=MAX_ID, description="Only this boot source; null: all"
    )

    def rule(self) -> Rule:
        """As the service takes it."""
        return Rule(
            kind=self.kind,
            os=self.os,
            count=self.count,
            pattern=self.pattern,
            arches=tuple(self.arches),
            kernels=tuple(self.kernels),
            source_id=self.source_id,
        )


class RuleRequest(RuleDraft):
    """A rule to save. is_imported: also start the import, which needs the scope import."""

    is_imported: bool = False


class RuleMatchItem(ResponseModel):
    """An image that a rule selects, and why.

    state: selected; gone: no longer offered and kept; dropped: stored and no longer selected.
    """

    source_id: int
    os: str
    release: str
    arch: str
    kernels: list[str]
    state: str
    why: str


class RuleResponse(ResponseModel):
    """A rule and what its last evaluation gave. It's evaluated whenever a source is refreshed."""

    id: int
    title: str
    kind: str
    os: str
    count: int
    pattern: str
    arches: list[str]
    kernels: list[str]
    source_id: int | None
    evaluated_at: datetime | None
    matches: list[RuleMatchItem]
    warning: str = Field(description="What is wrong with it; empty if nothing is")


class SavedRuleResponse(RuleResponse):
    """A rule that was saved."""

    run: StartedRunItem | None = Field(description="The import, null if none was asked for")


class RulePreviewRequest(RuleDraft):
    """A rule to preview. replaces: the rule that it would take the place of."""

    replaces: int | None = Field(None, ge=1, le=MAX_ID)


class RuleChangeItem(ResponseModel):
    """An image that the next import would fetch or remove. bytes: to download."""

    name: str
    architecture: str
    why: str
    bytes: int


class RulePreviewResponse(ResponseModel):
    """What a rule would select, and what the next import would do only because of it."""

    title: str
    matches: list[RuleMatchItem]
    adds: list[RuleChangeItem]
    drops: list[RuleChangeItem]
    bytes_to_fetch: int
    bytes_free: int | None
    warning: str


@routes("GET", "/rules", Right.SEE)
def read_all(call: PlainCall) -> Page[RuleResponse]:
    """List the rules with what they select."""
    return Page[RuleResponse](items=[_response(row) for row in rules.all_rules()])


@routes("POST", "/rules", Right.SELECT, status=201)
def create(call: Call[Empty, RuleRequest]) -> SavedRuleResponse:
    """Add a rule; it's evaluated at once."""
    if call.body.is_imported:
        demand(call.caller, Right.IMPORT)
    row = rules.add(call.body.rule(), call.actor)
    return _saved(row, call.body, call.actor)


@routes("POST", "/rules/preview", Right.SELECT)
def preview(call: Call[Empty, RulePreviewRequest]) -> RulePreviewResponse:
    """Preview a rule before saving it: the images that it adds and drops, and the bytes."""
    rule, replaced = call.body.rule(), call.body.replaces
    row = rules.get(replaced) if replaced is not None else None
    return _preview(rule.title, rule_preview.of_rule(rule, row))


@routes("GET", ONE, Right.SEE)
def read(call: PlainCall, id: int) -> RuleResponse:
    """Read a rule with what it selects."""
    return _response(rules.get(id))


@routes("PUT", ONE, Right.SELECT, state=read)
def change(call: Call[Empty, RuleRequest], id: int) -> SavedRuleResponse:
    """Replace a rule; what it no longer selects goes at the next import."""
    if call.body.is_imported:
        demand(call.caller, Right.IMPORT)
    row = rules.get(id)
    rules.change(row, call.body.rule(), call.actor)
    return _saved(row, call.body, call.actor)


@routes("GET", f"{ONE}/removal", Right.SEE)
def preview_removal(call: PlainCall, id: int) -> RulePreviewResponse:
    """Preview what goes at the next import if the rule is removed."""
    row = rules.get(id)
    return _preview(rules.rule_of(row).title, rule_preview.of_rule(None, row))


@routes("DELETE", ONE, Right.SELECT, state=read)
def remove(call: PlainCall, id: int) -> None:
    """Remove a rule; the next import removes what nothing else selects."""
    rules.remove(rules.get(id), call.actor)


def _saved(row: SelectionRule, sent: RuleRequest, actor: str) -> SavedRuleResponse:
    started = runs.start("manual", actor) if sent.is_imported else None
    return SavedRuleResponse(**_response(row).model_dump(), run=started_item(started))


def _response(row: SelectionRule) -> RuleResponse:
    found = rules.found_of(row)
    return RuleResponse(
        id=row.id,
        title=rules.rule_of(row).title,
        kind=row.kind,
        os=row.os,
        count=row.count,
        pattern=row.pattern,
        arches=row.arches,
        kernels=row.kernels,
        source_id=row.source_id,
        evaluated_at=row.evaluated_at,
        matches=[RuleMatchItem.model_validate(one) for one in found],
        warning=rules.warning_of(found),
    )


def _preview(title: str, found: RulePreview) -> RulePreviewResponse:
    return RulePreviewResponse(
        title=title,
        matches=[RuleMatchItem.model_validate(one) for one in found.matches],
        adds=[RuleChangeItem.model_validate(one) for one in found.adds],
        drops=[RuleChangeItem.model_validate(one) for one in found.drops],
        bytes_to_fetch=found.bytes_to_fetch,
        bytes_free=found.free,
        warning=rules.warning_of(found.matches),
    )
