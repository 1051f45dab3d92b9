-- Decides on events under each of the limits whose keys these are, and admits
-- them if all do. ARGV is 1 to take and 0 to peek, and then of each limit its
-- kind and seven numbers. The reply is whether they are admitted, now, and of
-- each limit three numbers that say what it was before.
--
-- Of each kind there is a function. It returns whether it admits, those three
-- numbers, and what writes the state with these events.
local kinds = {}

function kinds.bucket(key, cost, costPart, depth, depthPart, parts, fill, digits)
	local tat, part = now, 0
	local state = redis.call('GET', key)
	if state then
		local t, p = unpack2(digits, state)
		if t > now + fill + patience * fill then
			t, p = now + fill, 0
			set(key, pack(digits, t, p), t + 1)
		end
		if t >= now then tat, part = t, p end
	end
	local after, afterPart = tat + cost, part + costPart
	if afterPart >= parts then
		after, afterPart = after + 1, afterPart - parts
	end
	local ok = after - depth < now or after - depth == now and afterPart <= depthPart
	return ok, tat, part, 0, function() set(key, pack(digits, after, afterPart), after + 1) end
end

function kinds.fixed(key, n, limit, width, offset, _, _, digits)
	local index, used = floor((now - offset) / width), 0
	local state = redis.call('GET', key)
	if state then
		local i, u = unpack2(digits, state)
		if i > index + patience then
			i = index + 1
			set(key, pack(digits, i, u), (i + 1) * width + offset)
		end
		if i >= index then index, used = i, u end
	end
	return used + n <= limit, index, used, 0, function()
		set(key, pack(digits, index, used + n), (index + 1) * width + offset)
	end
end

-- The product of a number below 2^28 and one below 2^49, as a number of 2^25s
-- and a rest.
local function product(a, b)
	local high = floor(b / 33554432)
	local low = a * (b - high * 33554432)
	local carry = floor(low / 33554432)
	return a * high + carry, low - carry * 33554432
end

function kinds.sliding(key, n, limit, width, _, _, _, digits)
	local index, prev, curr = floor(now / width), 0, 0
	local state = redis.call('GET', key)
	if state then
		local i, p, c = unpack3(digits, state)
		if i > index + patience then
			i = index + 1
			set(key, pack(digits, i, p, c), (i + 2) * width)
		end
		if i >= index then
			index, prev, curr = i, p, c
		elseif i == index - 1 then
			prev = c
		end
	end
	local ok = prev + curr + n <= limit
	if not ok and curr + n <= limit then
		local weight, weightRest = product(prev, (index + 1) * width - max(now, index * width))
		local room, roomRest = product(limit - curr - n, width)
		ok = weight < room or weight == room and weightRest <= roomRest
	end
	return ok, index, prev, curr, function()
		set(key, pack(digits, index, prev, curr + n), (index + 2) * width)
	end
end

function kinds.log(key, n, limit, width)
	local entries = redis.call('LLEN', key) / 2
	if entries == 0 then
		return n <= limit, 0, 0, now, function()
			redis.call('RPUSH', key, 0, 0, now, n)
			redis.call('PEXPIREAT', key, ceil((now + width) / 1000))
		end
	end
	local newest, last = at(key, -1), total(key, -1)
	if newest > now + patience * width then
		local later = first(1, entries, function(i) return at(key, i) > now end)
		redis.call('LTRIM', key, 0, 2 * later - 1)
		redis.call('RPUSH', key, now, last)
		redis.call('PEXPIREAT', key, ceil((now + width) / 1000))
		entries, newest = later + 1, now
	end
	local t = max(now, newest)
	local live = first(1, entries, function(i) return at(key, i) > t - width end)
	local before = total(key, live - 1)
	local used, fits = last - before, t
	local excess = used + n - limit
	if excess > 0 then
		fits = at(key, first(live, entries - 1, function(i) return total(key, i) - before >= excess end)) + width
	end
	return excess <= 0, used, newest, fits, function()
		if live > 1 then
			redis.call('LTRIM', key, 2 * (live - 1), -1)
		end
		if t == newest and live < entries then
			redis.call('LSET', key, -1, last + n)
		else
			redis.call('RPUSH', key, t, last + n)
		end
		redis.call('PEXPIREAT', key, ceil((t + width) / 1000))
	end
end

local reply, writes, all = {0, now}, {}, true
for i, key in ipairs(KEYS) do
	local x = {}
	for j = 1, 7 do x[j] = tonumber(ARGV[8 * i - 6 + j]) end
	local ok, a, b, c, write = kinds[ARGV[8 * i - 6]](key, unpack(x))
	all = all and ok
	writes[i] = write
	reply[3 * i], reply[3 * i + 1], reply[3 * i + 2] = a, b, c
end
if all then
	reply[1] = 1
	for _, write in ipairs(writes) do
		if ARGV[1] == '1' then write() end
	end
end
return reply
