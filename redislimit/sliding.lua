-- A sliding window's state is its number since the epoch, and then, each in so many
-- digits, what was used of the one before it, and what is used of it. While that is
-- an int64, Redis keeps it in the place of a pointer.
local function setSliding(key, index, prev, curr, width, digits)
	local state = string.format('%.0f%0' .. digits .. '.0f%0' .. digits .. '.0f', index, prev, curr)
	call('SET', key, state, 'PXAT', math.ceil((index + 2) * width / 1000))
end

-- The product of a number below 2^28 and one below 2^49, as a number of 2^25s
-- and a rest.
local function product(a, b)
	local high = math.floor(b / 33554432)
	local low = a * (b - high * 33554432)
	local carry = math.floor(low / 33554432)
	return a * high + carry, low - carry * 33554432
end

-- The numbers are those of the events, the limit, the width of a window, and the
-- digits.
local function takeSliding(key, i)
	local n, limit, width, digits = ARGV[i] + 0, ARGV[i + 1] + 0, ARGV[i + 2] + 0, ARGV[i + 3] + 0
	local index, prev, curr = math.floor(now / width), 0, 0
	local state = call('GET', key)
	if state then
		local c, rest = split(state, digits)
		local p, at = split(rest, digits)
		at = at + 0
		if at > index + patience then
			at = index + 1
			setSliding(key, at, p, c, width, digits)
		end
		if at >= index then
			index, prev, curr = at, p, c
		elseif at == index - 1 then
			prev = c
		end
	end
	local ok = prev + curr + n <= limit
	if not ok and curr + n <= limit then
		local weight, weightRest = product(prev, (index + 1) * width - math.max(now, index * width))
		local room, roomRest = product(limit - curr - n, width)
		ok = weight < room or weight == room and weightRest <= roomRest
	end
	return ok, index, prev, curr
end

local function addSliding(key, i, index, prev, curr)
	setSliding(key, index, prev, curr + ARGV[i], ARGV[i + 2] + 0, ARGV[i + 3])
end

-- The numbers are those of the events, the window they were counted in, and then
-- as above.
local function refundSliding(key, i)
	local n, charged, width, digits = ARGV[i] + 0, ARGV[i + 1] + 0, ARGV[i + 2] + 0, ARGV[i + 3] + 0
	local state = call('GET', key)
	if not state then return end
	local curr, rest = split(state, digits)
	local prev, index = split(rest, digits)
	index = index + 0
	if index == charged then
		curr = math.max(curr - n, 0)
	elseif index == charged + 1 then
		prev = math.max(prev - n, 0)
	else
		return
	end
	setSliding(key, index, prev, curr, width, digits)
end

