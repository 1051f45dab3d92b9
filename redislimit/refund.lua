-- Undoes an admission under each of the limits whose keys these are, as far as
-- it still counts. ARGV is of each limit its kind and seven numbers.
local kinds = {}

function kinds.bucket(key, cost, costPart, size, sizePart, parts, charged, digits)
	local state = redis.call('GET', key)
	if not state then return end
	local tat, part = unpack2(digits, state)
	-- The latest of now and of the earliest time at which this state was reached.
	local since, sincePart = tat - size, part - sizePart
	if sincePart < 0 then
		since, sincePart = since - 1, sincePart + parts
	end
	if since < now then
		since, sincePart = now, 0
	end
	-- What has flowed in since may have been lost to a full bucket.
	if since >= charged then
		cost, costPart = cost - (since - charged), costPart - sincePart
		if costPart < 0 then
			cost, costPart = cost - 1, costPart + parts
		end
		if cost < 0 then return end
	end
	tat, part = tat - cost, part - costPart
	if part < 0 then
		tat, part = tat - 1, part + parts
	end
	if tat < now then
		redis.call('DEL', key)
	else
		set(key, pack(digits, tat, part), tat + 1)
	end
end

function kinds.fixed(key, n, charged, width, offset, _, _, digits)
	local state = redis.call('GET', key)
	if not state then return end
	local index, used = unpack2(digits, state)
	if index == charged then
		set(key, pack(digits, index, max(used - n, 0)), (index + 1) * width + offset)
	end
end

function kinds.sliding(key, n, charged, width, _, _, _, digits)
	local state = redis.call('GET', key)
	if not state then return end
	local index, prev, curr = unpack3(digits, state)
	if index == charged then
		curr = max(curr - n, 0)
	elseif index == charged + 1 then
		prev = max(prev - n, 0)
	else
		return
	end
	set(key, pack(digits, index, prev, curr), (index + 2) * width)
end

function kinds.log(key, n, charged)
	local entries = redis.call('LLEN', key) / 2
	local entry = first(1, entries, function(i) return at(key, i) >= charged end)
	if entry >= entries or at(key, entry) ~= charged then return end
	local own = total(key, entry) - total(key, entry - 1)
	n = min(n, own)
	local tail = redis.call('LRANGE', key, 2 * entry, -1)
	redis.call('LTRIM', key, 0, 2 * entry - 1)
	for i = n == own and 3 or 1, #tail, 2 do
		redis.call('RPUSH', key, tail[i], tail[i + 1] - n)
	end
end

for i, key in ipairs(KEYS) do
	local x = {}
	for j = 1, 7 do x[j] = tonumber(ARGV[8 * i - 7 + j]) end
	kinds[ARGV[8 * i - 7]](key, unpack(x))
end
return 1
