"""The quick profile smaller still: imported by a notebook's kernel, where the notebook is what is tested."""

from dataclasses import replace

from helpers.comparison import phases
from helpers.scaling import beyond_memory, growth, redis_cluster, redis_replica
from helpers.servers import cassandra_nodes
from helpers.trials import crashes, ladder, pace, scaleout

phases.DESIGNS["quick"] = replace(
    phases.DESIGNS["quick"],
    users=40, products=5, activities=200, orders=40, warm_up_operations=60, blocks=6, block_operations=40,
    concurrency=(1, 4), concurrency_blocks=2, concurrency_operations=40, open_shares=(0.3,), open_seconds=0.3,
    floor_operations=40, fsyncs=10, client_processes=2,
)  # fmt: skip
phases.ASKED_USERS = phases.ASKED_ORDERS = growth.ASKED_USERS = growth.ASKED_ORDERS = 10
growth.DESIGNS["quick"] = growth.GrowthDesign((50, 500), 2, 40, 20, 10)
beyond_memory.ROOM_BYTES["quick"] = 2**18
redis_replica.DESIGNS["quick"] = redis_replica.ReplicaDesign(0.1, 0.2, kills=1, passes=1)
redis_cluster.DESIGNS["quick"] = redis_cluster.ClusterDesign(500, 200, 0.1, {redis_cluster.WHOLE: 1})
cassandra_nodes.NEEDED_MB = 10**9  # as on a machine that has not the memory for a ring: it is not measured
crashes.DESIGNS["course"] = crashes.DESIGNS["course"] | {
    "quick": crashes.CrashDesign(
        {"mover": 1, "redis": 1, "postgres": 1},
        {"users": 10, "products": 5, "activities": 200, "orders": 40},
        undisturbed=1,
    )
}
ladder.SIZES["quick"], ladder.SAMPLE_ROWS["quick"], ladder.ROUNDS["quick"] = ladder.tables(2_000), 200, 1
ladder.GROWN["quick"] = {500: 1, 2_000: 1}
scaleout.SIZES["quick"], scaleout.ROUNDS["quick"] = ladder.tables(2_000), 1
pace.DESIGNS["quick"] = replace(
    pace.DESIGNS["quick"],
    rows={"users": 40, "products": 5, "activities": 200, "orders": 40},
    transactions=50, large_rows=500, warm_s=0.2, writing_s=0.3,
)  # fmt: skip
