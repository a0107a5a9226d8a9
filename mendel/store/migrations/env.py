"""What alembic executes for every migration; it runs on load, because alembic wants it so.

The connection comes from the open store. All steps share its transaction, also on SQLite (whose schema
changes are transactional once BEGIN is explicit), so a kill in the middle leaves the old schema.
"""

from alembic import context

from mendel.store.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
