/* Runs into one time order: the twin of buffer/merge.py. A heap of open runs; what comes out are segments of them. */
#include "_pages.h"
#include <structmember.h>

PyTypeObject *batch_type, *merge_type;

#define RECORDS_AT_ONCE 16384
#define CPU_SHIFT 40
#define NEVER (UINT64_MAX - 1) /* later than every time, and one more is still a number */

/* An open run: the time of its next record, and its rank where times are equal. */
typedef struct {
    uint64_t time, rank;
    Run *run; /* owned */
    uint32_t next;
} Entry;

typedef struct {
    PyObject_HEAD
    Entry *heap;
    Py_ssize_t used, room;
    uint64_t order;
} Merge;

static int is_before(const Entry *one, const Entry *other)
{
    return one->time != other->time ? one->time < other->time : one->rank < other->rank;
}

static void sift_down(Entry *heap, Py_ssize_t used, Py_ssize_t at)
{
    Entry moving = heap[at];
    for (Py_ssize_t child; (child = 2 * at + 1) < used; at = child) {
        if (child + 1 < used && is_before(&heap[child + 1], &heap[child]))
            child++;
        if (!is_before(&heap[child], &moving))
            break;
        heap[at] = heap[child];
    }
    heap[at] = moving;
}

static void sift_up(Entry *heap, Py_ssize_t at)
{
    Entry moving = heap[at];
    while (at && is_before(&moving, &heap[(at - 1) / 2])) {
        heap[at] = heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap[at] = moving;
}

/* Batches. */

static Batch *batch_new(void)
{
    return new_object(batch_type);
}

static int batch_add(Batch *batch, Run *run, uint32_t first, uint32_t stop)
{
    if (batch->used == batch->room) {
        Py_ssize_t room = batch->room ? 2 * batch->room : 64;
        Segment *segments = PyMem_Realloc(batch->segments, (size_t)room * sizeof *segments);
        if (!segments) {
            PyErr_NoMemory();
            return -1;
        }
        batch->segments = segments;
        batch->room = room;
    }
    batch->segments[batch->used++] = (Segment){(Run *)Py_NewRef((PyObject *)run), first, stop};
    batch->records += stop - first;
    return 0;
}

static void batch_dealloc(Batch *batch)
{
    for (Py_ssize_t number = 0; number < batch->used; number++)
        Py_DECREF(batch->segments[number].run);
    PyMem_Free(batch->segments);
    free_object((PyObject *)batch);
}

static Py_ssize_t batch_length(PyObject *self) { return ((Batch *)self)->records; }

static PyObject *batch_records(Batch *batch, PyObject *nothing)
{
    PyObject *list = PyList_New(batch->records);
    Py_ssize_t number = 0;
    (void)nothing;
    for (Segment *part = batch->segments; list && part < batch->segments + batch->used; part++)
        for (uint32_t each = part->first; list && each < part->stop; each++) {
            PyObject *record = Py_BuildValue("KIO", (unsigned long long)part->run->times[each],
                                             (unsigned int)part->run->starts[each], part->run);
            if (!record || PyList_SetItem(list, number++, record) < 0)
                Py_CLEAR(list);
        }
    return list;
}

static PyMethodDef batch_methods[] = {
    {"records", (PyCFunction)batch_records, METH_NOARGS, "Return [(time, start in its page's data, run)]."},
    {NULL},
};

static PyType_Slot batch_slots[] = {
    {Py_tp_doc, "Records next in time, of any runs: the native form of merge.Batch."},
    {Py_tp_dealloc, batch_dealloc},
    {Py_tp_methods, batch_methods},
    {Py_sq_length, batch_length},
    {0, NULL},
};

PyType_Spec batch_spec = {"userevents.buffer._pages.Batch", sizeof(Batch), 0,
                          Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, batch_slots};

/* Merging. */

/* Add the records of an entry that come before `until`, at least one of which does; the entry's time is then that of
 * its next record, or NEVER. */
static inline int advance(Batch *batch, Entry *entry, uint64_t until)
{
    const Run *run = entry->run;
    uint32_t first = entry->next, stop = first + 1;
    while (stop < run->count && run->times[stop] < until)
        stop++;
    entry->next = stop;
    entry->time = stop < run->count ? run->times[stop] : NEVER;
    return batch_add(batch, entry->run, first, stop);
}

static inline uint64_t least(uint64_t one, uint64_t other) { return one < other ? one : other; }

/* Put the entry at `at` where it belongs after it has advanced, or take it out. */
static void settle(Entry *heap, Py_ssize_t *used, Py_ssize_t at)
{
    if (heap[at].time == NEVER) {
        Run *run = heap[at].run;
        heap[at] = heap[--*used];
        Py_DECREF(run);
    }
    if (at < *used)
        sift_down(heap, *used, at);
}

/* Take records off the heap until `limit` (not included), or the batch has `most`.
 *
 * Mostly two runs alternate, one of each CPU: the first two of the heap advance beside each other, without a move in
 * it, as long as no third comes in between. */
static Batch *take(Entry *heap, Py_ssize_t *used, uint64_t limit, Py_ssize_t most)
{
    Batch *batch = batch_new();
    while (batch && *used && batch->records < most && heap[0].time < limit) {
        Py_ssize_t second = *used > 2 && is_before(&heap[2], &heap[1]) ? 2 : 1;
        uint64_t third = limit;
        for (Py_ssize_t at = second * 2 + 1; at <= second * 2 + 2 && at < *used; at++)
            third = least(third, heap[at].time);
        if (*used > 2)
            third = least(third, heap[3 - second].time);
        Entry *one = &heap[0], *other = &heap[second];
        int failed = 0;
        if (*used < 2 || other->time >= third) {
            uint64_t until = *used < 2 ? limit : least(limit, other->time + (one->rank < other->rank));
            failed = advance(batch, one, until);
        } else {
            while (!failed && batch->records < most && least(one->time, other->time) < third) {
                if (one->time < other->time || (one->time == other->time && one->rank < other->rank))
                    failed = advance(batch, one, least(third, other->time + (one->rank < other->rank)));
                else
                    failed = advance(batch, other, least(third, one->time + (other->rank < one->rank)));
            }
            settle(heap, used, second);
        }
        if (failed)
            Py_CLEAR(batch);
        settle(heap, used, 0);
    }
    return batch;
}

static int push(Merge *merge, PyObject *argument)
{
    if (!argument || Py_TYPE(argument) != run_type) {
        PyErr_SetString(PyExc_TypeError, "a merge takes runs");
        return -1;
    }
    Run *run = (Run *)argument;
    uint64_t rank = (uint64_t)run->cpu << CPU_SHIFT | merge->order++;
    if (!run->count)
        return 0;
    if (merge->used == merge->room) {
        Py_ssize_t room = merge->room ? 2 * merge->room : 64;
        Entry *heap = PyMem_Realloc(merge->heap, (size_t)room * sizeof *heap);
        if (!heap) {
            PyErr_NoMemory();
            return -1;
        }
        merge->heap = heap;
        merge->room = room;
    }
    merge->heap[merge->used] = (Entry){run->times[0], rank, (Run *)Py_NewRef(argument), 0};
    sift_up(merge->heap, merge->used++);
    return 0;
}

static PyObject *merge_push(Merge *merge, PyObject *argument)
{
    return push(merge, argument) < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *merge_extend(Merge *merge, PyObject *list)
{
    if (!PyList_Check(list))
        return PyErr_Format(PyExc_TypeError, "runs come in a list");
    for (Py_ssize_t number = 0; number < PyList_Size(list); number++)
        if (push(merge, PyList_GetItem(list, number)) < 0)
            return NULL;
    Py_RETURN_NONE;
}

static PyObject *batch_or_none(Batch *batch)
{
    if (batch && !batch->used) {
        Py_DECREF(batch);
        Py_RETURN_NONE;
    }
    return (PyObject *)batch;
}

static PyObject *merge_drain(Merge *merge, PyObject *limit)
{
    int is_limited = limit != Py_None;
    uint64_t until = is_limited ? PyLong_AsUnsignedLongLong(limit) : 0;
    if (is_limited && until == (uint64_t)-1 && PyErr_Occurred())
        return NULL;
    return batch_or_none(take(merge->heap, &merge->used, is_limited ? least(until, NEVER) : NEVER, RECORDS_AT_ONCE));
}

static uint64_t last_time(const Entry *entry) { return entry->run->times[entry->run->count - 1]; }

static int by_last_time(const void *one, const void *other)
{
    uint64_t first = last_time(one), second = last_time(other);
    return first != second ? (first > second) - (first < second) : is_before(other, one) - is_before(one, other);
}

static PyObject *merge_let_go(Merge *merge, PyObject *number)
{
    Py_ssize_t going = PyLong_AsSsize_t(number);
    if (going < 0)
        return PyErr_Occurred() ? NULL : PyErr_Format(PyExc_ValueError, "%zd runs cannot be let go", going);
    going = going < merge->used ? going : merge->used;
    if (!going)
        Py_RETURN_NONE;
    Entry *gone = PyMem_Malloc((size_t)going * sizeof *gone);
    if (!gone)
        return PyErr_NoMemory();
    qsort(merge->heap, (size_t)merge->used, sizeof *merge->heap, by_last_time);
    memcpy(gone, merge->heap, (size_t)going * sizeof *gone);
    merge->used -= going;
    memmove(merge->heap, merge->heap + going, (size_t)merge->used * sizeof *gone);
    for (Py_ssize_t at = merge->used / 2; at-- > 0;)
        sift_down(merge->heap, merge->used, at);
    for (Py_ssize_t at = going / 2; at-- > 0;)
        sift_down(gone, going, at);
    Batch *batch = take(gone, &going, NEVER, PY_SSIZE_T_MAX);
    while (going > 0) /* only after a failure */
        Py_DECREF(gone[--going].run);
    PyMem_Free(gone);
    return batch_or_none(batch);
}

static void merge_dealloc(Merge *merge)
{
    for (Py_ssize_t number = 0; number < merge->used; number++)
        Py_DECREF(merge->heap[number].run);
    PyMem_Free(merge->heap);
    free_object((PyObject *)merge);
}

static Py_ssize_t merge_length(PyObject *self) { return ((Merge *)self)->used; }

GUARDED(merge_push)
GUARDED(merge_extend)
GUARDED(merge_drain)
GUARDED(merge_let_go)

static PyMethodDef merge_methods[] = {
    {"push", (PyCFunction)merge_push_guarded, METH_O, "Take in a run."},
    {"extend", (PyCFunction)merge_extend_guarded, METH_O, "Take in a list of runs."},
    {"drain", (PyCFunction)merge_drain_guarded, METH_O, "Return a batch earlier than a time (None: any), None if none is."},
    {"let_go", (PyCFunction)merge_let_go_guarded, METH_O, "Return what is left of the runs that end first."},
    {NULL},
};

static PyType_Slot merge_slots[] = {
    {Py_tp_doc, "Puts runs into one time order: the native form of merge.Merge."},
    {Py_tp_dealloc, merge_dealloc},
    {Py_tp_methods, merge_methods},
    {Py_sq_length, merge_length},
    {0, NULL},
};

PyType_Spec merge_spec = {"userevents.buffer._pages.Merge", sizeof(Merge), 0, Py_TPFLAGS_DEFAULT, merge_slots};
