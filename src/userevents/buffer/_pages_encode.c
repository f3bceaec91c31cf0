/* Merged records into kernel pages again: the twin of buffer/encode.py. */
#include "_pages.h"
#include <structmember.h>

PyTypeObject *encoder_type;

#define PAGE_SIZE 4096
#define WORTH_COPYING ((PAGE_SIZE - PAGE_HEADER_SIZE) / 2)

typedef struct {
    PyObject_HEAD
    unsigned char page[PAGE_SIZE];
    Py_ssize_t used;
    uint64_t page_ns, last_ns;
    char is_after_gap;
    Py_ssize_t records, copied, built, late;
    unsigned long long first_ns;
} Encoder;

static int put_out(Encoder *encoder, PyObject *pages, uint64_t time, const unsigned char *data, Py_ssize_t size)
{
    PyObject *page = PyBytes_FromStringAndSize(NULL, PAGE_SIZE);
    if (!page)
        return -1;
    char *bytes = PyBytes_AsString(page);
    store_u64(bytes, time);
    store_u64(bytes + 8, (uint64_t)size | (encoder->is_after_gap ? COMMIT_MISSED_EVENTS : 0));
    memcpy(bytes + PAGE_HEADER_SIZE, data, (size_t)size);
    memset(bytes + PAGE_HEADER_SIZE + size, 0, (size_t)(PAGE_SIZE - PAGE_HEADER_SIZE - size));
    encoder->is_after_gap = 0;
    int done = PyList_Append(pages, page);
    Py_DECREF(page);
    return done;
}

static int flush(Encoder *encoder, PyObject *pages)
{
    Py_ssize_t size = encoder->used - PAGE_HEADER_SIZE;
    if (!size)
        return 0;
    encoder->used = PAGE_HEADER_SIZE;
    encoder->built++;
    return put_out(encoder, pages, encoder->page_ns, encoder->page + PAGE_HEADER_SIZE, size);
}

/* Copy a page whose records all follow what was put before: only its time stamp and first delta are new. */
static int copy_page(Encoder *encoder, PyObject *pages, const Run *run)
{
    unsigned char data[PAGE_SIZE];
    uint32_t first = run->starts[0], end = record_end(run, run->starts[run->count - 1]);
    if (flush(encoder, pages) < 0)
        return -1;
    memcpy(data, run->bytes + first, end - first);
    store_u32(data, data[0] & TYPE_LEN_MASK);
    encoder->last_ns = run->times[run->count - 1];
    encoder->copied++;
    return put_out(encoder, pages, run->times[0], data, end - first);
}

/* How many bytes a record at this time may take, after the time extend that it may need. */
static Py_ssize_t room_at(const Encoder *encoder, uint64_t time)
{
    Py_ssize_t room = PAGE_SIZE - encoder->used;
    if (encoder->used == PAGE_HEADER_SIZE || time <= encoder->last_ns || time - encoder->last_ns <= DELTA_MAX)
        return room;
    return time - encoder->last_ns <= STAMP_MASK ? room - 8 : 0;
}

static int put_record(Encoder *encoder, PyObject *pages, const Run *run, uint32_t number)
{
    uint32_t start = run->starts[number], size = record_end(run, start) - start;
    uint64_t time = run->times[number], delta;
    if (size > PAGE_SIZE - PAGE_HEADER_SIZE) {
        PyErr_Format(PyExc_ValueError, "a record of %u bytes fits no page of %d", size, PAGE_SIZE);
        return -1;
    }
    if (size > room_at(encoder, time) && flush(encoder, pages) < 0)
        return -1;
    if (time < encoder->last_ns) {
        time = encoder->last_ns;
        encoder->late++;
    }
    delta = time - encoder->last_ns;
    unsigned char *at = encoder->page + encoder->used;
    if (encoder->used == PAGE_HEADER_SIZE) {
        encoder->page_ns = time;
        delta = 0;
    } else if (delta > DELTA_MAX) {
        store_u32(at, (uint32_t)(delta & DELTA_MAX) << TYPE_LEN_BITS | TYPE_LEN_TIME_EXTEND);
        store_u32(at + 4, (uint32_t)(delta >> DELTA_BITS));
        at += 8;
        encoder->used += 8;
        delta = 0;
    }
    memcpy(at, run->bytes + start, size);
    store_u32(at, (uint32_t)delta << TYPE_LEN_BITS | (run->bytes[start] & TYPE_LEN_MASK));
    encoder->used += size;
    encoder->last_ns = time;
    return 0;
}

static int put_segment(Encoder *encoder, PyObject *pages, const Segment *part)
{
    const Run *run = part->run;
    if (!part->first && run->has_gap) {
        if (flush(encoder, pages) < 0)
            return -1;
        encoder->is_after_gap = 1;
    }
    if (!part->first && part->stop == run->count && run->is_whole && run->size >= WORTH_COPYING &&
        run->size <= PAGE_SIZE - PAGE_HEADER_SIZE && run->times[0] >= encoder->last_ns)
        return copy_page(encoder, pages, run);
    for (uint32_t number = part->first; number < part->stop; number++)
        if (put_record(encoder, pages, run, number) < 0)
            return -1;
    return 0;
}

static PyObject *encoder_add(Encoder *encoder, PyObject *argument)
{
    if (Py_TYPE(argument) != batch_type) {
        PyErr_SetString(PyExc_TypeError, "an encoder takes batches");
        return NULL;
    }
    Batch *batch = (Batch *)argument;
    PyObject *pages = PyList_New(0);
    for (Segment *part = batch->segments; pages && part < batch->segments + batch->used; part++) {
        if (!encoder->records)
            encoder->first_ns = part->run->times[part->first];
        encoder->records += part->stop - part->first;
        if (put_segment(encoder, pages, part) < 0)
            Py_CLEAR(pages);
    }
    return pages;
}

static PyObject *encoder_finish(Encoder *encoder, PyObject *nothing)
{
    PyObject *pages = PyList_New(0);
    (void)nothing;
    if (pages && flush(encoder, pages) < 0)
        Py_CLEAR(pages);
    return pages;
}

static PyObject *encoder_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    (void)args;
    (void)keywords;
    Encoder *encoder = new_object(type);
    if (encoder)
        encoder->used = PAGE_HEADER_SIZE;
    return (PyObject *)encoder;
}

static void encoder_dealloc(Encoder *encoder)
{
    free_object((PyObject *)encoder);
}

GUARDED(encoder_add)
GUARDED(encoder_finish)

static PyMethodDef encoder_methods[] = {
    {"add", (PyCFunction)encoder_add_guarded, METH_O, "Take in a batch; return the pages that are full."},
    {"finish", (PyCFunction)encoder_finish_guarded, METH_NOARGS, "Return the page under construction, if there is one."},
    {NULL},
};

static PyMemberDef encoder_members[] = {
    {"records", T_PYSSIZET, offsetof(Encoder, records), READONLY, NULL},
    {"copied", T_PYSSIZET, offsetof(Encoder, copied), READONLY, NULL},
    {"built", T_PYSSIZET, offsetof(Encoder, built), READONLY, NULL},
    {"late", T_PYSSIZET, offsetof(Encoder, late), READONLY, NULL},
    {"first_ns", T_ULONGLONG, offsetof(Encoder, first_ns), READONLY, NULL},
    {"last_ns", T_ULONGLONG, offsetof(Encoder, last_ns), READONLY, NULL},
    {NULL},
};

static PyType_Slot encoder_slots[] = {
    {Py_tp_doc, "Puts merged records into pages: the native form of encode.Encoder."},
    {Py_tp_new, encoder_new},
    {Py_tp_dealloc, encoder_dealloc},
    {Py_tp_methods, encoder_methods},
    {Py_tp_members, encoder_members},
    {0, NULL},
};

PyType_Spec encoder_spec = {"userevents.buffer._pages.Encoder", sizeof(Encoder), 0, Py_TPFLAGS_DEFAULT, encoder_slots};
