# SPDX-License-Identifier: Apache-2.0
"""Pages for users: one module per page, each with its blueprint and its forms."""

from flask import Flask


def register(app: Flask) -> None:
    """Add everything that users see; the first matching handler is used."""
    from jinja2 import StrictUndefined
    from werkzeug.local import LocalProxy

    from webapp import middleware
    from webapp.web import (
        access,
        accounts,
        api_help,
        bin,
        boot,
        confirming,
        errors,
        events,
        formatting,
        images,
        import_timing,
        imports,
        kernels,
        metrics,
        mirror,
        overview,
        priorities,
        racks,
        refusals,
        restrictions,
        rules,
        setup,
        shell,
        soak,
        source_changes,
        source_keys,
        source_states,
        sources,
        storage,
        tokens,
        two_factor,
        uploads,
        users,
        versions,
        vmware,
    )

    app.jinja_env.undefined = StrictUndefined
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    middleware.register(app, app.extensions["slipway.settings"])
    access.register(app)
    middleware.protect_forms(app, access.is_script_path)
    confirming.register(app)
    errors.register(app)
    refusals.register(app)
    formatting.register(app)
    shell.register(app)
    soak.register(app)
    # Also for parts that are rendered alone; read when the first page needs it, then kept.
    app.jinja_env.globals["ui"] = LocalProxy(
        lambda: app.jinja_env.get_template("_macros.html").module
    )
    app.register_blueprint(overview.blueprint)
    app.register_blueprint(images.blueprint)
    app.register_blueprint(kernels.blueprint)
    app.register_blueprint(rules.blueprint)
    app.register_blueprint(versions.blueprint)
    app.register_blueprint(priorities.blueprint)
    app.register_blueprint(restrictions.blueprint)
    app.register_blueprint(bin.blueprint)
    app.register_blueprint(sources.blueprint)
    app.register_blueprint(source_changes.blueprint)
    app.register_blueprint(source_keys.blueprint)
    app.register_blueprint(source_states.blueprint)
    app.register_blueprint(imports.blueprint)
    app.register_blueprint(import_timing.blueprint)
    app.register_blueprint(storage.blueprint)
    app.register_blueprint(events.blueprint)
    app.register_blueprint(metrics.blueprint)
    app.register_blueprint(boot.blueprint)
    app.register_blueprint(mirror.blueprint)
    app.register_blueprint(racks.blueprint)
    app.register_blueprint(accounts.blueprint)
    app.register_blueprint(two_factor.blueprint)
    app.register_blueprint(setup.blueprint)
    app.register_blueprint(users.blueprint)
    app.register_blueprint(uploads.blueprint)
    app.register_blueprint(vmware.blueprint)
    app.register_blueprint(tokens.blueprint)
    app.register_blueprint(api_help.blueprint)
