# SPDX-License-Identifier: Apache-2.0
"""What forms of several pages share."""

from __future__ import annotations

from wtforms import Form

from webapp.errors import InvalidFields


def show(problem: InvalidFields, form: Form) -> None:
    """Put a service's messages at the fields they are about, the others above the form."""
    for name, messages in problem.fields.items():
        field = form._fields.get(name)
        if field is None:
            form.form_errors = [*form.form_errors, *messages]
        else:
            field.errors = [*field.errors, *messages]
