-- Greets: makes queue and group where they are missing, begins this consumer's tenure. Returns the queue's id, what names this consumer's
-- checkpoint beside it, and the last position that it was given.
-- KEYS: stream, state, projects, tenures, consumers; and all others: while a slot moves, a server that cannot serve one refuses the greeting
-- ARGV: group, consumer, tenure, new id, this life of Redis, microseconds to skip, last position given as the consumer
--       knows it or '', roles of its process
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
local me = ARGV[2]
local known = redis.call('HMGET', KEYS[4], me .. ':life', me .. ':given', me .. ':reader')
local given, reader = known[2] or '0', known[3]
-- Another life of Redis may have forgotten who was given what, and give again what this consumer has, or to it what another one had: then
-- "everything up to here is done" is true no longer, and the consumer goes on under a new checkpoint. What it had stored is known by its ids.
if not reader or (known[1] ~= ARGV[5] and given ~= ARGV[7]) then
    given, reader = '0', ARGV[3]
end
redis.call('HSET', KEYS[4], me, ARGV[3], me .. ':life', ARGV[5], me .. ':given', given, me .. ':reader', reader,
    me .. ':roles', ARGV[8])
local time = redis.call('TIME')
redis.call('ZADD', KEYS[5], time[1], me)
return {redis.call('HGET', state, 'id'), reader, given}
