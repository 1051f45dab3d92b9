-- A bucket's or a window's state is one decimal number, made of fields: the
-- first, and then each of the others in so many digits. While that is an int64
-- Redis keeps it in the place of a pointer.
--
--	bucket   [theoretical arrival time in microseconds][parts of one]
--	fixed    [window since the epoch][events used]
--	sliding  [window since the epoch][used before it][used]
--
-- A log is a list: of each admission its time and the running total of events,
-- oldest first. What is before the first of them only tells the total there.
local floor, ceil, max, min = math.floor, math.ceil, math.max, math.min

local function pack(digits, first, second, third)
	local state = string.format('%.0f%0' .. digits .. '.0f', first, second)
	return third and state .. string.format('%0' .. digits .. '.0f', third) or state
end

local function unpack2(digits, state)
	return tonumber(string.sub(state, 1, -digits - 1)), tonumber(string.sub(state, -digits))
end

local function unpack3(digits, state)
	local first, second = unpack2(digits, string.sub(state, 1, -digits - 1))
	return first, second, tonumber(string.sub(state, -digits))
end

-- Keeps a state until a time in microseconds.
local function set(key, state, expiry)
	redis.call('SET', key, state, 'PXAT', ceil(expiry / 1000))
end

-- Of an entry of a log its time, and the running total after it.
local function at(key, entry) return tonumber(redis.call('LINDEX', key, 2 * entry)) end
local function total(key, entry) return tonumber(redis.call('LINDEX', key, 2 * entry + 1)) end

-- The first of some entries of which yes is true, or after. It must be true of
-- all behind one of which it is. Most often that is the oldest, or near it.
local function first(entry, after, yes)
	if entry >= after or yes(entry) then return entry end
	local low, high, step = entry, min(entry + 1, after), 1
	while high < after and not yes(high) do
		step = 2 * step
		low, high = high, min(high + step, after)
	end
	low = low + 1
	while low < high do
		local middle = floor((low + high) / 2)
		if yes(middle) then high = middle else low = middle + 1 end
	end
	return low
end
