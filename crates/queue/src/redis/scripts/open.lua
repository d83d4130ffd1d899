-- Greets: makes queue and group where they are missing, begins this consumer's tenure, and returns the queue's id.
-- KEYS: stream, state, projects, tenures, consumers
-- ARGV: group, consumer, tenure, new id, run id of this Redis, microseconds to skip
local stream, state, projects = KEYS[1], KEYS[2], KEYS[3]
-- A Redis without memory lets a script go on that has begun to write with something that needs none: only so it can be emptied.
redis.call('HDEL', state, 'nothing')
if redis.call('EXISTS', stream) == 0 then
    -- A new queue, or one that was lost: what was counted of it is void.
    redis.call('HDEL', state, 'id', 'bytes')
    redis.call('DEL', projects)
end
redis.call('HSETNX', state, 'id', ARGV[4])
if redis.call('HGET', state, 'run') ~= ARGV[5] then
    -- Another process of Redis may have lost the last positions of the one before; they must not be given again.
    redis.call('HSET', state, 'run', ARGV[5])
    redis.call('HINCRBY', state, 'last', ARGV[6])
end
local groups = redis.pcall('XINFO', 'GROUPS', stream)
local found = false
if not groups.err then
    for _, group in ipairs(groups) do
        found = found or group[2] == ARGV[1]
    end
end
if not found then
    redis.call('XGROUP', 'CREATE', stream, ARGV[1], '0', 'MKSTREAM')
end
redis.call('HSET', KEYS[4], ARGV[2], ARGV[3])
local time = redis.call('TIME')
redis.call('ZADD', KEYS[5], time[1], ARGV[2])
return redis.call('HGET', state, 'id')
