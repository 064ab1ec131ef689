-- Applies some changes to the model and writes down how far that is; all or nothing is said of it.
-- On one server there are no KEYS, and ARGV begins with the key of the state, the number of words that set its
-- fields, and these words. After an error the position stays, and the state says what went wrong.
-- In a cluster KEYS are the mark of a slot and what else is touched there, and ARGV begins with the number that
-- the mark must have and that which it gets. After an error the mark says what went wrong.
-- Then come operations:
--   C n words...      a command
--   T times pattern ties mark k lists... n m removed... added...
--                     a sorted set, and k lists in which it tells the places: rows of one owner leave, others
--                     come, these in their order. The pattern finds in a member what settles equal scores, ties
--                     say of each how it is compared (n: a number, b: bytes) and which capture it is. A row is
--                     its score, its ties, its member, its element in each list. The mark is no element.
--   R mark k lists... length n m removed... added...
--                     k lists, a register and those of whose rows it tells the places, all of one length: the
--                     same, where a row is its place and its element in each list. What comes has the place that
--                     it would have when those that leave are gone, and others that come are not there.
-- After an error some of the changes may be there.
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

-- -1, 0 or 1 of two numbers of 64 bits, as text: a double would not hold them.
local function numbers(a, b)
  if a == b then return 0 end
  local minus = a:sub(1, 1) == '-'
  local less
  if minus ~= (b:sub(1, 1) == '-') then
    less = minus
  elseif #a ~= #b then
    less = (#a < #b) ~= minus
  else
    less = (a < b) ~= minus
  end
  return less and -1 or 1
end

-- The same of two texts by their bytes: the server's locale may order text otherwise.
local function bytes(a, b)
  for i = 1, math.min(#a, #b) do
    local one, other = a:byte(i), b:byte(i)
    if one ~= other then return one < other and -1 or 1 end
  end
  return #a == #b and 0 or (#a < #b and -1 or 1)
end

local function earlier(set, member, ties)
  local captures = {member:match(set.pattern)}
  for i, tie in ipairs(set.ties) do
    local found = captures[tie.capture]
    if not found then error(set.key .. ' has a member of another form', 0) end
    local order = tie.compare(found, ties[i])
    if order ~= 0 then return order < 0 end
  end
  return false
end

-- How many rows stand before one in the lists: those of a lower score, and of the same score by ties.
local function place(set, one)
  local before = redis.call('ZCOUNT', set.key, '-inf', '(' .. one.score)
  if #set.ties > 0 then
    for _, member in ipairs(redis.call('ZRANGEBYSCORE', set.key, one.score, one.score)) do
      if earlier(set, member, one.ties) then before = before + 1 end
    end
  end
  return before
end

-- Takes rows out of lists, whose places are known.
local function take(lists, removed, mark)
  local first = nil
  for _, one in ipairs(removed) do
    for i, list in ipairs(lists) do
      if redis.call('LINDEX', list, one.index) ~= one.elements[i] then
        error(list .. ' has not ' .. one.elements[i] .. ' where it should be', 0)
      end
    end
    if not first or one.index < first then first = one.index end
  end
  for _, list in ipairs(lists) do
    local length = redis.call('LLEN', list)
    for _, one in ipairs(removed) do redis.call('LSET', list, one.index, mark) end
    redis.call('LREM', list, 2 * first < length and #removed or -#removed, mark)
  end
end

local function remove(set, lists, removed, mark)
  for _, one in ipairs(removed) do
    one.index = place(set, one)
    if not redis.call('ZSCORE', set.key, one.member) then
      error(set.key .. ' has not ' .. one.member, 0)
    end
  end
  take(lists, removed, mark)
  for _, one in ipairs(removed) do redis.call('ZREM', set.key, one.member) end
end

-- Pushes elements that stood from an index on, with those of added between them whose places are there;
-- gives which of added comes next.
local function weave(list, elements, index, added, i, which)
  local out = {}
  for j, element in ipairs(elements) do
    while added[i] and added[i].index == index + j - 1 do
      out[#out + 1] = added[i].elements[which]
      i = i + 1
    end
    out[#out + 1] = element
  end
  push(list, out)
  return i
end

-- Puts rows into a list, whose places are known among those that are there.
local function insert(list, added, which, mark)
  local length, last, middle = redis.call('LLEN', list), 1, 0
  for _, one in ipairs(added) do
    if one.index < length then middle = middle + 1 end
  end
  if middle > 0 and length - added[1].index <= NEAR then
    local first = added[1].index
    local tail = redis.call('LRANGE', list, first, -1)
    if first > 0 then redis.call('LTRIM', list, 0, first - 1) else redis.call('DEL', list) end
    last = weave(list, tail, first, added, last, which)
  elseif middle > FEW then  -- the whole list goes round: it is read from its head and written to its end
    for first = 0, length - 1, CHUNK do
      local elements = redis.call('LPOP', list, math.min(CHUNK, length - first))
      last = weave(list, elements, first, added, last, which)
    end
  else
    for i = 1, middle do
      local index = added[i].index + i - 1
      local element = redis.call('LINDEX', list, index)
      redis.call('LSET', list, index, mark)
      redis.call('LINSERT', list, 'BEFORE', mark, added[i].elements[which])
      redis.call('LSET', list, index + 1, element)
    end
    last = middle + 1
  end
  local rest = {}
  for i = last, #added do rest[#rest + 1] = added[i].elements[which] end
  push(list, rest)
end

local function add(set, lists, added, mark)
  for _, one in ipairs(added) do one.index = place(set, one) end  -- among those that are there already
  for _, one in ipairs(added) do redis.call('ZADD', set.key, one.score, one.member) end
  for which, list in ipairs(lists) do insert(list, added, which, mark) end
end

local function register()
  local mark = word()
  local lists = words(number())
  local length, n, m = number(), number(), number()
  local function rows(count)
    local found = {}
    for i = 1, count do found[i] = {index = number(), elements = words(#lists)} end
    return found
  end
  local removed, added = rows(n), rows(m)
  for _, list in ipairs(lists) do
    if redis.call('LLEN', list) ~= length then
      error(list .. ' is not of the length of ' .. lists[1], 0)
    end
  end
  if n > 0 then take(lists, removed, mark) end
  for which, list in ipairs(lists) do insert(list, added, which, mark) end
end

local function timeline()
  local set = {key = word(), pattern = word(), ties = {}}
  for how, capture in word():gmatch('(%a)(%d+)') do
    set.ties[#set.ties + 1] = {compare = how == 'n' and numbers or bytes, capture = tonumber(capture)}
  end
  local mark = word()
  local lists = words(number())
  local n, m = number(), number()
  local function rows(count)
    local found = {}
    for i = 1, count do
      found[i] = {score = word(), ties = words(#set.ties), member = word(), elements = words(#lists)}
    end
    return found
  end
  local removed, added = rows(n), rows(m)
  for _, list in ipairs(lists) do
    if redis.call('LLEN', list) ~= redis.call('ZCARD', set.key) then
      error(list .. ' and its sorted set are not of the same length', 0)
    end
  end
  if n > 0 then remove(set, lists, removed, mark) end
  if m > 0 then add(set, lists, added, mark) end
end

local function apply()
  while at < #ARGV do
    local what = word()
    if what == 'C' then
      redis.call(unpack(words(number())))
    elseif what == 'T' then
      timeline()
    else
      register()
    end
  end
end

local function said(wrong) return type(wrong) == 'table' and wrong.err or tostring(wrong) end

local function on_one_server()
  local state = word()
  local fields = words(number())
  local fault = redis.call('HGET', state, 'follow:fault')
  if fault and fault ~= '' then return redis.error_reply(fault) end  -- of a part of the same changes
  local done, wrong = pcall(apply)
  if not done then
    redis.call('HSET', state, 'follow:fault', said(wrong))
    return redis.error_reply(said(wrong))
  end
  if #fields > 0 then redis.call('HSET', state, unpack(fields)) end
  return redis.status_reply('OK')
end

local function in_a_slot()
  local before, after = word(), word()
  local held = redis.call('GET', KEYS[1])
  if not held then return redis.error_reply('FAULT what was in a slot is gone') end
  if not tonumber(held) then return redis.error_reply('FAULT ' .. held) end
  if tonumber(held) >= tonumber(after) then return redis.status_reply('OK') end  -- it came before
  if held ~= before then
    return redis.error_reply('FAULT a slot has batch ' .. held .. ', not ' .. before)
  end
  local done, wrong = pcall(apply)
  redis.call('SET', KEYS[1], done and after or said(wrong))
  return done and redis.status_reply('OK') or redis.error_reply('FAULT ' .. said(wrong))
end

return #KEYS == 0 and on_one_server() or in_a_slot()
