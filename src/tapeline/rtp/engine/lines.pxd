# The queues between an engine thread and its codec thread, in the compiled build; `queues.py` has the same functions for the other.
# One writer and one reader each, so no lock: records of a `Task` and its bytes in a ring of memory, a record never over the ring's end.

from libc.string cimport memcpy

from tapeline.rtp.engine.structs cimport Leg, Line, Shard, Task

cdef extern from *:
    """
    #define tapeline_seen(place) __atomic_load_n(place, __ATOMIC_ACQUIRE)
    #define tapeline_show(place, value) __atomic_store_n(place, value, __ATOMIC_RELEASE)
    """
    long long seen "tapeline_seen"(long long* place) nogil
    void show "tapeline_show"(long long* place, long long value) nogil

cdef inline long long space_of(long long size) noexcept nogil:
    return <long long>sizeof(Task) + (size + 7) // 8 * 8

cdef inline int put_task(Line* line, int kind, Leg* leg, long long coder, long long pos, long long moved, long long stamp, int n, int marker, const unsigned char* data, int offset, int size) noexcept nogil:
    cdef long long need = space_of(size)
    cdef long long head = line.head
    cdef long long rest = line.size - (head & (line.size - 1))
    cdef long long free = line.size - (head - seen(&line.tail))
    cdef Task* task
    if rest < need:
        if free < rest + need:
            return 0
        (<Task*>(line.data + (head & (line.size - 1)))).kind = 0  # the rest of the ring is left empty
        head += rest
    elif free < need:
        return 0
    task = <Task*>(line.data + (head & (line.size - 1)))
    task.kind = kind
    task.size = size
    task.leg = leg
    task.coder = coder
    task.pos = pos
    task.moved = moved
    task.stamp = stamp
    task.n = n
    task.marker = marker
    memcpy(task + 1, data + offset, size)
    show(&line.head, head + need)
    return 1

cdef inline Task* read_task(Line* line) noexcept nogil:
    cdef long long tail = line.tail
    cdef Task* task
    while tail != seen(&line.head):
        task = <Task*>(line.data + (tail & (line.size - 1)))
        if task.kind:
            return task
        tail += line.size - (tail & (line.size - 1))
        show(&line.tail, tail)
    return NULL

cdef inline int first_task(Shard* shard, Line* line) noexcept nogil:
    # Let `shard.task` be the oldest task; 0 when there is none.
    shard.task = read_task(line)
    if shard.task == NULL:
        return 0
    shard.task_data = <unsigned char*>(shard.task + 1)
    return 1

cdef inline void drop_task(Line* line, Task* task) noexcept nogil:
    show(&line.tail, line.tail + space_of(task.size))
