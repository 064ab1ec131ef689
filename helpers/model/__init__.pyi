from .keys import (
    COLUMNS as COLUMNS,
)
from .keys import (
    DATE_WIDTH as DATE_WIDTH,
)
from .keys import (
    DATES as DATES,
)
from .keys import (
    EPOCH as EPOCH,
)
from .keys import (
    EXACT_SCORE as EXACT_SCORE,
)
from .keys import (
    FIELDS as FIELDS,
)
from .keys import (
    KINDS as KINDS,
)
from .keys import (
    LONGEST_BYTES as LONGEST_BYTES,
)
from .keys import (
    MICROSECOND as MICROSECOND,
)
from .keys import (
    REASONS as REASONS,
)
from .keys import (
    TABLES as TABLES,
)
from .keys import (
    TYPES as TYPES,
)
from .keys import (
    ScoreOrder as ScoreOrder,
)
from .keys import (
    activities_by_time_key as activities_by_time_key,
)
from .keys import (
    activities_key as activities_key,
)
from .keys import (
    claim_key as claim_key,
)
from .keys import (
    date_reason as date_reason,
)
from .keys import (
    decode_activity as decode_activity,
)
from .keys import (
    decode_member as decode_member,
)
from .keys import (
    decode_row as decode_row,
)
from .keys import (
    encode_activity as encode_activity,
)
from .keys import (
    encode_member as encode_member,
)
from .keys import (
    encode_row as encode_row,
)
from .keys import (
    from_microseconds as from_microseconds,
)
from .keys import (
    glob as glob,
)
from .keys import (
    key_id as key_id,
)
from .keys import (
    key_pattern as key_pattern,
)
from .keys import (
    lease_key as lease_key,
)
from .keys import (
    microseconds as microseconds,
)
from .keys import (
    order_key as order_key,
)
from .keys import (
    parse_timestamp as parse_timestamp,
)
from .keys import (
    product_key as product_key,
)
from .keys import (
    product_orders_key as product_orders_key,
)
from .keys import (
    reject_reason as reject_reason,
)
from .keys import (
    state_key as state_key,
)
from .keys import (
    timestamp_text as timestamp_text,
)
from .keys import (
    user_key as user_key,
)
from .keys import (
    user_orders_key as user_orders_key,
)
