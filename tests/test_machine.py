"""Memory of a process: asked of a process of its own, so that nothing here changes that of the tests."""

import platform
import subprocess
import sys
import threading
import time

import psutil
import pytest

from helpers.servers import machine

GROWN = """
from helpers.servers import machine
before = machine.peak_rss_mb()
held = b"x" * 80_000_000
peak = machine.peak_rss_mb()
del held
print(before, peak, machine.peak_rss_mb())
"""
THREADS = """
import threading
from helpers.servers import machine
{before}
def work():
    kept = [bytes(1000) for _ in range(20_000)]
for _ in range(3):
    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
print(machine.peak_rss_mb(), *[line for line in open("/proc/self/maps") if " ---p " in line], sep="")
"""
BATCHES = """
import resource
from helpers.servers import machine
{before}
def batch():
    return [b"x" * 1_000_000 for _ in range(8)]
def touched():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
batch()
began = touched()
for _ in range(10):
    batch()
print(touched() - began)
"""
"""It prints how often a page had to be given to it."""


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_the_peak_is_in_megabytes_and_stays():
    before, peak, after = map(float, run(GROWN).split())
    assert 5 < before < 200
    assert 75 < peak - before < 90
    assert after == pytest.approx(peak, abs=1)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator than glibc's")
def test_threads_share_one_arena():
    each, one = (run(THREADS.format(before=line)).count("\n") for line in ("", "assert machine.one_arena()"))
    assert one < each


def test_processor_time_is_of_all_threads_ended_ones_too_and_finer_than_a_tick():
    def work():
        began = time.thread_time()
        while time.thread_time() - began < 0.05:
            pass

    me = psutil.Process()
    before = machine.cpu_s(me)
    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    used = machine.cpu_s(me) - before
    assert 0.15 <= used < 0.3
    assert machine.cpu_s(me) == pytest.approx(time.process_time(), abs=0.01)
    assert machine.cpu_s(None) is None


def test_the_processor_time_of_a_process_that_is_gone_is_unknown():
    child = subprocess.Popen([sys.executable, "-c", "pass"], stdout=subprocess.PIPE)
    process = psutil.Process(child.pid)
    child.communicate()
    assert machine.cpu_s(process) is None


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator than glibc's")
def test_a_batch_takes_the_memory_of_the_one_before():
    each, kept = (int(run(BATCHES.format(before=line))) for line in ("", "assert machine.one_arena()"))
    assert each > 1000 > 100 > kept
