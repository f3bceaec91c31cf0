/* Fields of records, as fields/payload.py plans to read them, and whose a thread is: shared by rows and columns. */
#include "_pages.h"

#define FAR (UINT32_C(1) << 30) /* beyond the end of every record */
#define OWNERS_MAX 65536

/* Turn a tuple of (kind, start, end, signed) into readings; NULL with an exception if it is none. */
Reading *read_plan(PyObject *readings, Py_ssize_t *count)
{
    if (!is_tuple(readings))
        return NULL;
    *count = PyTuple_Size(readings);
    Reading *plan = PyMem_Calloc((size_t)*count + 1, sizeof *plan);
    if (!plan)
        return (Reading *)PyErr_NoMemory();
    for (Py_ssize_t number = 0; number < *count; number++) {
        long long start, end;
        int kind, is_signed;
        PyObject *reading = PyTuple_GetItem(readings, number);
        if (!is_tuple(reading) || !PyArg_ParseTuple(reading, "iLLp", &kind, &start, &end, &is_signed))
            goto failed;
        long long size = end - start;
        if (kind < 0 || kind >= KINDS || start < 0 || size < 0 ||
            (kind == INTEGER && size != 1 && size != 2 && size != 4 && size != 8) || (kind == FLOAT && size != 8)) {
            PyErr_Format(PyExc_ValueError, "a field of kind %d cannot lie from %lld to %lld", kind, start, end);
            goto failed;
        }
        if (end > FAR) {
            start = kind == INTEGER || kind == FLOAT ? FAR - size : start < FAR ? start : FAR;
            end = FAR;
        }
        plan[number] = (Reading){(unsigned char)kind, (unsigned char)is_signed, (uint32_t)start, (uint32_t)end};
    }
    return plan;
failed:
    PyMem_Free(plan);
    return NULL;
}

/* Times are below 2^62 and a little; with such a shift they stay within an int64. */
int check_shift(long long shift)
{
    if (shift > -(1LL << 62) && shift < 1LL << 62)
        return 0;
    PyErr_Format(PyExc_OverflowError, "times cannot be shifted by %lld ns", shift);
    return -1;
}

int owners_init(Owners *owners, PyObject *callback)
{
    owners->callback = Py_NewRef(callback);
    owners->size = 64;
    owners->used = 0;
    owners->slots = PyMem_Calloc(owners->size, sizeof *owners->slots);
    if (owners->slots)
        return 0;
    PyErr_NoMemory();
    return -1;
}

static void forget(Owners *owners)
{
    for (size_t slot = 0; owners->slots && slot < owners->size; slot++)
        if (owners->slots[slot].value) {
            Py_DECREF(owners->slots[slot].tag);
            Py_DECREF(owners->slots[slot].value);
        }
    owners->used = 0;
}

void owners_clear(Owners *owners)
{
    forget(owners);
    PyMem_Free(owners->slots);
    owners->slots = NULL;
    Py_CLEAR(owners->callback);
}

static Owner *slot_of(Owner *slots, size_t size, PyObject *tag, uint32_t cpu, int32_t tid)
{
    uint64_t hash = ((uint64_t)(uintptr_t)tag >> 4 ^ (uint64_t)cpu << 40 ^ (uint32_t)tid) * UINT64_C(0x9E3779B97F4A7C15);
    size_t at = (size_t)(hash >> 32) & (size - 1);
    while (slots[at].value && (slots[at].tag != tag || slots[at].cpu != cpu || slots[at].tid != tid))
        at = (at + 1) & (size - 1);
    return &slots[at];
}

static int grow(Owners *owners)
{
    if (owners->used >= OWNERS_MAX) {
        forget(owners);
        memset(owners->slots, 0, owners->size * sizeof *owners->slots);
        return 0;
    }
    size_t size = 2 * owners->size;
    Owner *slots = PyMem_Calloc(size, sizeof *slots);
    if (!slots) {
        PyErr_NoMemory();
        return -1;
    }
    for (size_t at = 0; at < owners->size; at++)
        if (owners->slots[at].value)
            *slot_of(slots, size, owners->slots[at].tag, owners->slots[at].cpu, owners->slots[at].tid) =
                owners->slots[at];
    PyMem_Free(owners->slots);
    owners->slots = slots;
    owners->size = size;
    return 0;
}

/* Return what the callback says of a thread at a time (a new reference); asked once where that holds at any time. */
PyObject *owner_of(Owners *owners, const Run *run, int32_t tid, int64_t time, int *holds)
{
    Owner *slot = slot_of(owners->slots, owners->size, run->tag, run->cpu, tid);
    *holds = 1;
    if (slot->value)
        return Py_NewRef(slot->value);
    PyObject *value, *answer =
        PyObject_CallFunction(owners->callback, "OIiL", run->tag, (unsigned int)run->cpu, tid, (long long)time);
    if (!answer || !is_tuple(answer) || !PyArg_ParseTuple(answer, "Op", &value, holds)) {
        Py_XDECREF(answer);
        return NULL;
    }
    Py_INCREF(value);
    Py_DECREF(answer);
    if (!*holds)
        return value;
    if (owners->used * 2 >= owners->size && grow(owners) < 0) {
        Py_DECREF(value);
        return NULL;
    }
    slot = slot_of(owners->slots, owners->size, run->tag, run->cpu, tid); /* the callback may have asked, too */
    if (!slot->value) {
        *slot = (Owner){Py_NewRef(run->tag), Py_NewRef(value), run->cpu, tid};
        owners->used++;
    }
    return value;
}
