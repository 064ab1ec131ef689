-- Applies some changes to the model and writes down how far that is; all or nothing is said of it.
-- ARGV: key of the state, number of words that set its fields, these words; then operations:
--   C n words...                            a command
--   T list zset n m removed... added...     a timeline: n times (score, id, member, element), then m times
--                                           the same, which are in the order of the list
-- After an error the position stays, and the state says what went wrong: some of the changes may be there.
local CHUNK, FEW, NEAR = 1000, 8, 1000
local at = 0

local function word()
  at = at + 1
  return ARGV[at]
end

local function words(n)
  local found = {}
  for i = 1, n do found[i] = word() end
  return found
end

local function number() return tonumber(word()) end

local function push(list, elements)
  for first = 1, #elements, CHUNK do
    redis.call('RPUSH', list, unpack(elements, first, math.min(first + CHUNK - 1, #elements)))
  end
end

-- Whether one number of 64 bits, as text, is below another: a double would not hold them.
local function below(a, b)
  local minus = a:sub(1, 1) == '-'
  if minus ~= (b:sub(1, 1) == '-') then return minus end
  if #a ~= #b then return (#a < #b) ~= minus end
  if minus then return a > b end
  return a < b
end

-- How many activities stand before one in the list: earlier ones, and of the same moment those of lower id.
local function place(times, score, id)
  local before = redis.call('ZCOUNT', times, '-inf', '(' .. score)
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', times, score, score)) do
    if below(member:match('^(-?%d+):'), id) then before = before + 1 end
  end
  return before
end

local function activities(n)
  local found = {}
  for i = 1, n do
    found[i] = {score = word(), id = word(), member = word(), element = word()}
  end
  return found
end

local function remove(list, times, removed)
  local length, first = redis.call('LLEN', list), nil
  for _, one in ipairs(removed) do
    local index = place(times, one.score, one.id)
    if redis.call('LINDEX', list, index) ~= one.element or not redis.call('ZSCORE', times, one.member) then
      error(list .. ' has not ' .. one.element .. ' where it should be', 0)
    end
    one.index = index
    if not first or index < first then first = index end
  end
  for _, one in ipairs(removed) do  -- no element is as short as this mark
    redis.call('LSET', list, one.index, '-')
    redis.call('ZREM', times, one.member)
  end
  redis.call('LREM', list, 2 * first < length and #removed or -#removed, '-')
end

-- Pushes elements that stood from an index on, with those of added between them whose places are there;
-- gives which of added comes next.
local function weave(list, elements, index, added, i)
  local out = {}
  for j, element in ipairs(elements) do
    while added[i] and added[i].index == index + j - 1 do
      out[#out + 1] = added[i].element
      i = i + 1
    end
    out[#out + 1] = element
  end
  push(list, out)
  return i
end

local function add(list, times, added)
  local length, middle = redis.call('LLEN', list), 0
  for _, one in ipairs(added) do
    one.index = place(times, one.score, one.id)  -- among those that are there already
    if one.index < length then middle = middle + 1 end
  end
  for _, one in ipairs(added) do redis.call('ZADD', times, one.score, one.member) end
  local last = 1
  if middle > 0 and length - added[1].index <= NEAR then
    local first = added[1].index
    local tail = redis.call('LRANGE', list, first, -1)
    if first > 0 then redis.call('LTRIM', list, 0, first - 1) else redis.call('DEL', list) end
    last = weave(list, tail, first, added, last)
  elseif middle > FEW then  -- the whole list goes round: it is read from its head and written to its end
    for first = 0, length - 1, CHUNK do
      local elements = redis.call('LPOP', list, math.min(CHUNK, length - first))
      last = weave(list, elements, first, added, last)
    end
  else
    for i = 1, middle do
      local index = added[i].index + i - 1
      local element = redis.call('LINDEX', list, index)
      redis.call('LSET', list, index, '-')
      redis.call('LINSERT', list, 'BEFORE', '-', added[i].element)
      redis.call('LSET', list, index + 1, element)
    end
    last = middle + 1
  end
  local rest = {}
  for i = last, #added do rest[#rest + 1] = added[i].element end
  push(list, rest)
end

local function timeline()
  local list, times = word(), word()
  local n, m = number(), number()
  local removed, added = activities(n), activities(m)
  if redis.call('LLEN', list) ~= redis.call('ZCARD', times) then
    error(list .. ' and its sorted set are not of the same length', 0)
  end
  if n > 0 then remove(list, times, removed) end
  if m > 0 then add(list, times, added) end
end

local function apply()
  while at < #ARGV do
    if word() == 'C' then
      redis.call(unpack(words(number())))
    else
      timeline()
    end
  end
end

local state = word()
local fields = words(number())
local done, wrong = pcall(apply)
if done then
  redis.call('HSET', state, unpack(fields))
  return redis.status_reply('OK')
end
local said = type(wrong) == 'table' and wrong.err or tostring(wrong)
redis.call('HSET', state, 'follow:fault', said)
return redis.error_reply(said)
