-- Says that this consumer lives, and puts back what a dead one held: at the end of the stream, under new positions, for anybody.
-- Returns how many entries were put back. Each carries how often it was delivered before, in field a.
-- KEYS: stream, state, consumers, tenures
-- ARGV: group, consumer, seconds of silence that mean death, most entries at once
local stream, group, me = KEYS[1], ARGV[1], ARGV[2]
local time = redis.call('TIME')
-- A Redis without memory lets a script go on that has begun to write with something that needs none: only so it can be emptied.
redis.call('HDEL', KEYS[2], 'nothing')
redis.call('ZADD', KEYS[3], time[1], me)
local function forget(name)
    redis.call('HDEL', KEYS[4], name, name .. ':life', name .. ':given', name .. ':reader', name .. ':roles')
end
local moved, reads = 0, {}
for _, info in ipairs(redis.call('XINFO', 'CONSUMERS', stream, group)) do
    local name, pending = info[2], info[4]
    reads[name] = true
    local seen = redis.call('ZSCORE', KEYS[3], name)
    if not seen then
        redis.call('ZADD', KEYS[3], time[1], name)
    elseif name ~= me and time[1] - seen > tonumber(ARGV[3]) then
        local room = tonumber(ARGV[4]) - moved
        if pending == 0 then
            redis.call('XGROUP', 'DELCONSUMER', stream, group, name)
            redis.call('ZREM', KEYS[3], name)
            forget(name)
        elseif room > 0 then
            local last = tonumber(redis.call('HGET', KEYS[2], 'last') or '0')
            local position = math.max(last + 1, time[1] * 1000000 + time[2])
            for _, entry in ipairs(redis.call('XPENDING', stream, group, '-', '+', room, name)) do
                local id, deliveries = entry[1], entry[4]
                local found = redis.call('XRANGE', stream, id, id)[1]
                redis.call('XACK', stream, group, id)
                if found then
                    local fields = found[2]
                    deliveries = deliveries + (fields[4] or 0)
                    redis.call('XDEL', stream, id)
                    redis.call('XADD', stream, string.format('%.0f-0', position), 'r', fields[2], 'a', deliveries)
                    position = position + 1
                    moved = moved + 1
                end
            end
            redis.call('HSET', KEYS[2], 'last', string.format('%.0f', position - 1))
        end
    end
end
-- Processes that never read.
for _, name in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', time[1] - ARGV[3] - 1)) do
    if not reads[name] then
        redis.call('ZREM', KEYS[3], name)
        forget(name)
    end
end
return moved
