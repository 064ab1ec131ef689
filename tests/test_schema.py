import psycopg2
import pytest

from helpers.errors import HelpersError
from helpers.relational import schema
from helpers.servers import connections
from helpers.source import catalogue


@pytest.fixture
def connection(postgres_url):
    connection = connections.postgres(postgres_url)
    yield connection
    connection.close()


def tables_of(connection):
    return {table["name"]: table for table in catalogue.read(connection)["tables"]}


def test_create_makes_the_columns_of_the_assignment(connection):
    schema.create(connection)
    tables = tables_of(connection)
    assert set(tables) == set(schema.TABLES)
    for name, table in tables.items():
        columns = {column["name"]: (column["type"], column["nullable"]) for column in table["columns"]}
        assert columns == dict(schema.COLUMNS[name])
        assert table["primary_key"] == [schema.KEYS[name]]
        assert schema.difference(table) is None
    assert tables["users"]["unique"] == [["email"], ["username"]]
    indexes = {index["name"] for table in tables.values() for index in table["indexes"]}
    assert set(schema.INDEXES) <= indexes


def test_create_twice_changes_nothing_and_keeps_rows(connection):
    schema.create(connection)
    before = catalogue.read(connection)
    cursor = connection.cursor()
    cursor.execute("INSERT INTO users (username) VALUES ('anna')")
    schema.create(connection)
    assert catalogue.read(connection) == before
    cursor.execute("SELECT count(*) FROM users")
    assert cursor.fetchone() == (1,)


def test_create_adds_only_what_is_missing(connection):
    schema.create(connection)
    connection.cursor().execute("DROP TABLE activities; DROP INDEX orders_user_date_idx")
    schema.create(connection)
    tables = tables_of(connection)
    assert "activities" in tables
    assert "orders_user_date_idx" in {index["name"] for index in tables["orders"]["indexes"]}


ALTERED = {
    "ALTER TABLE products DROP COLUMN price": "column price is missing",
    "ALTER TABLE products ADD COLUMN colour text": "further column colour",
    "ALTER TABLE products ALTER COLUMN price TYPE numeric(12,2)": "numeric(12,2) NULL, not numeric(10,2)",
    "ALTER TABLE products ALTER COLUMN price SET NOT NULL": "numeric(10,2) NOT NULL, not numeric(10,2) NULL",
    "ALTER TABLE products DROP CONSTRAINT products_pkey CASCADE": "product_id is not its primary key",
    "ALTER TABLE users DROP CONSTRAINT users_email_key": "email is not unique",
    "ALTER TABLE orders DROP CONSTRAINT orders_product_id_fkey": "product_id does not refer to products",
}


@pytest.mark.parametrize("change", ALTERED)
def test_create_refuses_another_table_of_that_name(connection, change):
    schema.create(connection)
    cursor = connection.cursor()
    cursor.execute("DROP TABLE activities")
    if change.endswith("products_pkey CASCADE"):
        cursor.execute("ALTER TABLE products ALTER COLUMN product_id SET NOT NULL")
    cursor.execute(change)
    connection.commit()
    with pytest.raises(HelpersError) as refusal:
        schema.create(connection)
    assert ALTERED[change] in str(refusal.value)
    assert change.split()[2] in str(refusal.value)
    assert "activities" not in tables_of(connection)  # nothing was changed


def test_create_needs_an_existing_schema(postgres_url):
    connection = connections.postgres(connections.with_schema(postgres_url, "no_such_schema"))
    with pytest.raises(HelpersError, match="no_such_schema"):
        schema.create(connection)
    connection.close()


def test_drop_removes_the_four_and_no_other(connection):
    schema.create(connection)
    connection.cursor().execute("CREATE TABLE other (id integer)")
    schema.drop(connection)
    assert set(tables_of(connection)) == {"other"}
    schema.drop(connection)


def test_drop_leaves_all_when_another_table_depends(connection):
    schema.create(connection)
    connection.cursor().execute("CREATE TABLE other (user_id integer REFERENCES users)")
    connection.commit()
    with pytest.raises(psycopg2.errors.DependentObjectsStillExist):
        schema.drop(connection)
    connection.rollback()
    assert set(tables_of(connection)) == {*schema.TABLES, "other"}


def test_schemas_of_experiments_are_made_and_dropped(postgres_url):
    connection = connections.postgres(postgres_url)
    name = f"{catalogue.current_schema(connection)} of its own"
    schema.ensure_schema(connection, name)
    schema.ensure_schema(connection, name)
    connection.cursor().execute(f'CREATE TABLE "{name}".t (id integer)')
    connection.commit()
    schema.drop_schema(connection, name)
    schema.drop_schema(connection, name)
    assert catalogue.read(connection, name)["tables"] == []
    connection.close()


def test_a_schema_that_an_older_version_made_is_known_again(connection):
    with connection, connection.cursor() as cursor:
        cursor.execute("CREATE SCHEMA older; COMMENT ON SCHEMA older IS 'made by helpers.schema'")
    schema.drop_schema(connection, "older")
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regnamespace('older')")
        assert cursor.fetchone() == (None,)


def test_a_schema_of_somebody_else_is_not_touched(connection):
    other = catalogue.current_schema(connection)  # made by the fixture, so without our mark
    with pytest.raises(HelpersError, match=other):
        schema.ensure_schema(connection, other)
    with pytest.raises(HelpersError, match=other):
        schema.drop_schema(connection, other)
    assert catalogue.current_schema(connection) == other


def test_a_schema_in_use_is_waited_for_and_then_named(postgres_url, monkeypatch):
    monkeypatch.setattr(schema, "LOCK_TIMEOUT_S", 0.2)
    mine = connections.postgres(postgres_url)
    other = connections.postgres(postgres_url, application_name="another process")
    name = f"{catalogue.current_schema(mine)}_used"
    schema.ensure_schema(mine, name)
    with other:
        other.cursor().execute(f"CREATE TABLE {name}.t (id integer)")
    other.cursor().execute(f"SELECT * FROM {name}.t")  # an open transaction, as a notebook leaves it
    with pytest.raises(HelpersError, match=f"{name} is in use by another session"):
        schema.drop_schema(mine, name)
    other.close()
    schema.drop_schema(mine, name)
    mine.close()


@pytest.mark.parametrize("statement", ["DROP TABLE {}.t", "CREATE TABLE {}.u (id integer)"])
def test_a_transaction_that_an_interrupted_cell_left_open_is_ended(postgres_url, statement):
    mine, left, elsewhere = (connections.postgres(postgres_url) for _ in range(3))
    name = f"{catalogue.current_schema(mine)}_left"
    schema.ensure_schema(mine, name)
    with left:
        left.cursor().execute(f"CREATE TABLE {name}.t (id integer)")
    left.cursor().execute(statement.format(name))
    elsewhere.cursor().execute("SELECT 1")
    schema.drop_schema(mine, name)
    with pytest.raises(psycopg2.OperationalError):
        left.cursor().execute("SELECT 1")
    elsewhere.cursor().execute("SELECT 1")  # its open transaction has nothing to do with the schema
    for connection in (mine, left, elsewhere):
        connection.close()
