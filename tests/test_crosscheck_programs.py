"""What other programs print is read as they document it; what they did not do is no figure."""

import pytest

from helpers import settings
from helpers.comparison import programs
from helpers.comparison.programs import Turn
from helpers.errors import HelpersError

HEADER = (
    '"test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms","p99_latency_ms",'
    '"max_latency_ms"\n'
)


class At:
    """Where a server would be."""

    name = "cassandra"
    url = "cassandra://user:s%24ecret@127.0.0.1:9042"
    address = "127.0.0.1:9042"


def made(program, folder):
    return program("program", At(), folder)


def test_redis_benchmark_is_read_by_the_names_of_columns():
    parse = programs.RedisBenchmark.parse
    found = parse(HEADER + '"PING","12738.85","0.071","0.016","0.079","0.119","0.207","0.503"\n')
    assert found == {"p50": 79.0, "p95": 119.0, "p99": 207.0, "per_s": 12738.85}
    for old in ("", '"PING","12738.85"\n', HEADER):
        with pytest.raises(HelpersError, match=r"redis-tools 6\.2"):
            parse(old)


@pytest.mark.parametrize("figure", [0.0, float("inf")])
def test_a_figure_below_the_resolution_is_refused(figure, tmp_path):
    with pytest.raises(HelpersError, match="resolution"):
        made(programs.RedisBenchmark, tmp_path)._checked({"p50": 1.0, "per_s": figure})


def test_go_ycsb_is_read_operation_by_operation(tmp_path):
    lines = ["operation,timestamp_us,latency_us"]
    for number in range(4):
        lines += [f"{kind},{1000 * number},{100 + number}" for kind in ("READ", "TOTAL")]
    program, turn = made(programs.GoYcsb, tmp_path), Turn("read", 1, 4)
    found = program.parse("\n".join(lines), turn)
    assert found["p50"] == 101.5
    assert found["per_s"] == pytest.approx(4 / 3103e-6, rel=1e-3)  # from the first start to the last end
    with pytest.raises(HelpersError, match="0 of 4 operations failed, 5 were asked for"):
        program.parse("\n".join(lines), Turn("read", 1, 5))
    with pytest.raises(HelpersError, match="1 of 4 operations failed"):
        program.parse("\n".join(lines).replace("READ", "READ_ERROR", 1), turn)


def test_pgbench_is_read_from_its_log(tmp_path):
    program = made(programs.PgBench, tmp_path)
    log = ["0 1 200 0 1700000000 500000", "1 1 400 0 1700000000 500400", "0 2 300 0 1700000001 0"]
    found = program.parse(log, 3)
    assert found["p50"] == 300
    assert found["per_s"] == pytest.approx(3 / 0.5004, rel=0.01)
    with pytest.raises(HelpersError, match="3 transactions in its log, 4 were asked for"):
        program.parse(log, 4)
    with pytest.raises(HelpersError):
        program.parse(["0 1 failed 0 1700000000 500000"], 1)


def test_a_failure_shows_no_secret(tmp_path):
    error = made(programs.GoYcsb, tmp_path)._failed('"cassandra.password"="s$ecret" or s%24ecret')
    assert "***" in str(error) and not [word for word in settings.secrets(At.url) if word in str(error)]


def test_programs_are_told_where_the_server_is_and_no_secret():
    assert programs.where("redis://user:word@localhost:7000/3") == ["-h", "localhost", "-p", "7000"]
    assert programs.where("redis://[::1]") == ["-h", "::1", "-p", "6379"]
    assert programs.where("unix://user:word@/run/redis.sock?db=1") == ["-s", "/run/redis.sock"]


def test_what_means_something_in_a_property_file_is_escaped():
    assert programs._properties({"a.b": "x y=z:#!\\é", "n": 1, "p": "/tmp/a_b-c"}) == (
        "a.b = x\\u0020y\\u003dz\\u003a\\u0023\\u0021\\u005c\\u00e9\nn = 1\np = /tmp/a_b-c\n"
    )
    assert "${" in programs.GoYcsb.unfit("cassandra://user:a%24%7Bb@127.0.0.1")
    assert programs.GoYcsb.unfit("cassandra://user:a%24b@127.0.0.1") is None


def test_a_url_of_mongodb_gets_the_relaxed_tier():
    more = "w=1&journal=false&retryWrites=false&retryReads=false"
    for url, start in (
        ("mongodb://u:w@127.0.0.1:1", "mongodb://u:w@127.0.0.1:1/?"),
        ("mongodb://u:w@127.0.0.1:1/", "mongodb://u:w@127.0.0.1:1/?"),
        ("mongodb://u:w@127.0.0.1:1/?authSource=admin", "mongodb://u:w@127.0.0.1:1/?authSource=admin&"),
    ):
        assert programs._mongodb_url(url) == start + more
