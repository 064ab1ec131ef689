"""Changes of the source that a migration has to catch up, at rows that are loaded early."""

import random

from helpers.servers import connections

EARLY_USERS = 10
EARLY_ORDERS = 20


def make(source: str, chance: random.Random) -> int:
    """Insert, update, move and delete some rows, in one transaction; no table becomes larger by much.

    An email becomes ``NULL`` (or is there again), an activity moves to another user, the user gets one that
    is older than all, one order is deleted and another made.

    Args:
        source: PostgreSQL URL; needs ten users that begin with 1, with activities, and twenty orders.
        chance: chooses the rows.

    Returns:
        The number of the deleted order.
    """
    connection = connections.postgres(source)
    user, other = chance.sample(range(1, EARLY_USERS + 1), 2)
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT order_id FROM orders ORDER BY order_id LIMIT %s", (EARLY_ORDERS,))
        order = chance.choice(cursor.fetchall())[0]
        cursor.execute("DELETE FROM orders WHERE order_id = %s", (order,))
        cursor.execute("INSERT INTO orders SELECT min(order_id) - 1, %s, 1, now(), 1 FROM orders", (user,))
        cursor.execute(
            "UPDATE users SET email = CASE WHEN email IS NULL THEN username || '@changed' END "
            "WHERE user_id = %s",
            (user,),
        )
        cursor.execute(
            "UPDATE activities SET user_id = %s WHERE activity_id = "
            "(SELECT activity_id FROM activities WHERE user_id = %s ORDER BY activity_date LIMIT 1)",
            (other, user),
        )
        cursor.execute(
            "INSERT INTO activities (user_id, activity_type, activity_date) "
            "SELECT user_id, 'login', min(activity_date) - interval '1 day' FROM activities "
            "WHERE user_id = %s GROUP BY user_id",
            (user,),
        )
    connection.close()
    return int(order)
