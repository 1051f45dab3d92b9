-- A log is a list: of each admission its time and the running total of events,
-- oldest first. What is before the first that counts tells the total there. Totals
-- are counted modulo a number that is larger than any limit, and so never too
-- large to be exact.
local around = 4503599627370496
local function at(key, entry) return tonumber(call('LINDEX', key, 2 * entry)) end
local function total(key, entry) return tonumber(call('LINDEX', key, 2 * entry + 1)) end

-- The first of some entries of which yes is true, or after. It must be true of
-- all behind one of which it is. Most often that is the oldest, or near it.
local function first(entry, after, yes)
	if entry >= after or yes(entry) then return entry end
	local low, high, step = entry, math.min(entry + 1, after), 1
	while high < after and not yes(high) do
		step = 2 * step
		low, high = high, math.min(high + step, after)
	end
	low = low + 1
	while low < high do
		local middle = math.floor((low + high) / 2)
		if yes(middle) then high = middle else low = middle + 1 end
	end
	return low
end

-- The numbers are those of the events, the limit, and the width of a window.
local function takeLog(key, i)
	local n, limit, width = ARGV[i] + 0, ARGV[i + 1] + 0, ARGV[i + 2] + 0
	local entries = call('LLEN', key) / 2
	if entries == 0 then
		return n <= limit, 0, 0, now, now, 0, 1, 0
	end
	local newest, last = at(key, -1), total(key, -1)
	if newest > now + patience * width then
		local later = first(1, entries, function(e) return at(key, e) > now end)
		call('LTRIM', key, 0, 2 * later - 1)
		call('RPUSH', key, now, last)
		call('PEXPIREAT', key, math.ceil((now + width) / 1000))
		entries, newest = later + 1, now
	end
	local t = math.max(now, newest)
	local live = first(1, entries, function(e) return at(key, e) > t - width end)
	local before = total(key, live - 1)
	local used, fits = (last - before) % around, t
	local excess = used + n - limit
	if excess > 0 then
		fits = at(key, first(live, entries - 1, function(e) return (total(key, e) - before) % around >= excess end)) + width
	end
	return excess <= 0, used, newest, fits, t, last, live, entries
end

local function addLog(key, i, _, newest, _, t, last, live, entries)
	local sum = (last + ARGV[i]) % around
	if live > 1 then
		call('LTRIM', key, 2 * (live - 1), -1)
	end
	if entries == 0 then
		call('RPUSH', key, 0, 0)
	end
	if t == newest and live < entries then
		call('LSET', key, -1, sum)
	else
		call('RPUSH', key, t, sum)
	end
	call('PEXPIREAT', key, math.ceil((t + ARGV[i + 2]) / 1000))
end

-- The numbers are those of the events, and when they were logged.
local function refundLog(key, i)
	local logged = ARGV[i + 1] + 0
	local entries = call('LLEN', key) / 2
	local entry = first(1, entries, function(e) return at(key, e) >= logged end)
	if entry >= entries or at(key, entry) ~= logged then return end
	local own = (total(key, entry) - total(key, entry - 1)) % around
	local n = math.min(ARGV[i] + 0, own)
	local tail = call('LRANGE', key, 2 * entry, -1)
	call('LTRIM', key, 0, 2 * entry - 1)
	for j = n == own and 3 or 1, #tail, 2 do
		call('RPUSH', key, tail[j], (tail[j + 1] - n) % around)
	end
end

