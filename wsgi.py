# SPDX-License-Identifier: Apache-2.0
"""The pages and the REST API, for any WSGI server: ``gunicorn wsgi:app``."""

from webapp import create_app

app = create_app()
