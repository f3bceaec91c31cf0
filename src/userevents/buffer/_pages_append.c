/* The short way of short records into the page that a ring is filling: the native form of `CpuRing.appender`.
 *
 * The numbers that a record changes are kept in base classes of CpuRing and of its page, so that Python and C have
 * the same ones. Whatever is not a short record that fits behind another one goes to the ring's `write`. One thread at
 * a time: a ring belongs to whoever has its owner's lock.
 */
#include "_pages.h"
#include <stddef.h>
#include <structmember.h>

#define SHORT_BODY_MAX 112

typedef struct {
    PyObject_HEAD
    Py_ssize_t used, size;
    long long last_ns;
} PageState;

typedef struct {
    PyObject_HEAD
    Py_ssize_t tail_entries, entries;
    char must_stamp;
} RingState;

PyTypeObject *page_state_type, *ring_state_type, *appender_type;

static PyMemberDef page_state_members[] = {
    {"_used", T_PYSSIZET, offsetof(PageState, used), 0, NULL},
    {"_size", T_PYSSIZET, offsetof(PageState, size), 0, NULL},
    {"last_ns", T_LONGLONG, offsetof(PageState, last_ns), 0, NULL},
    {NULL},
};
static PyMemberDef ring_state_members[] = {
    {"_tail_entries", T_PYSSIZET, offsetof(RingState, tail_entries), 0, NULL},
    {"entries", T_PYSSIZET, offsetof(RingState, entries), 0, NULL},
    {"_must_stamp", T_BOOL, offsetof(RingState, must_stamp), 0, NULL},
    {NULL},
};
static PyType_Slot page_state_slots[] = {{Py_tp_members, page_state_members}, {0, NULL}};
static PyType_Slot ring_state_slots[] = {{Py_tp_members, ring_state_members}, {0, NULL}};
PyType_Spec page_state_spec = {
    "userevents.buffer._pages.PageState", sizeof(PageState), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    page_state_slots,
};
PyType_Spec ring_state_spec = {
    "userevents.buffer._pages.RingState", sizeof(RingState), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    ring_state_slots,
};

/* What `append` needs to know: where to, what tells the time, what every body begins with, how long payloads may be. */
typedef struct {
    PyObject_HEAD
    RingState *ring;
    PyObject *now, *head, *overwrite;
    const char *head_bytes;
    Py_ssize_t head_size, smallest, largest;
} Appender;

static void appender_dealloc(Appender *self)
{
    Py_CLEAR(self->ring);
    Py_CLEAR(self->now);
    Py_CLEAR(self->head);
    Py_CLEAR(self->overwrite);
    free_object((PyObject *)self);
}

static PyType_Slot appender_slots[] = {{Py_tp_dealloc, appender_dealloc}, {0, NULL}};
PyType_Spec appender_spec = {
    "userevents.buffer._pages.Appender", sizeof(Appender), 0, Py_TPFLAGS_DEFAULT, appender_slots,
};

static PyObject *tail_name, *page_name; /* kept for good */

/* A new reference to an object's attribute, where that is of the given type; else NULL, without an error. */
static PyObject *attribute(PyObject *object, PyObject *name, PyTypeObject *type)
{
    PyObject *found = PyObject_GetAttr(object, name);
    if (!found)
        PyErr_Clear();
    else if (!PyObject_TypeCheck(found, type))
        Py_CLEAR(found);
    return found;
}

/* Put a record into a page as `PageBuilder.append` does; 0 where it takes another way, and then nothing is done. */
static int put_short(const Appender *self, PageState *page, PyObject *bytes, long long ts_ns, const char *payload,
                     Py_ssize_t size)
{
    Py_ssize_t body = self->head_size + size, words = (body + 3) >> 2, end = page->used + 4 + 4 * words;
    if (body <= RECORD_HEADER_SIZE || body > SHORT_BODY_MAX || page->used <= PAGE_HEADER_SIZE)
        return 0;
    if (end > page->size || end > PyByteArray_Size(bytes) || ts_ns < page->last_ns || page->last_ns < 0
        || ts_ns - page->last_ns > DELTA_MAX)
        return 0;
    char *at = PyByteArray_AsString(bytes) + page->used;
    store_u32(at, (uint32_t)(ts_ns - page->last_ns) << TYPE_LEN_BITS | (uint32_t)words);
    memcpy(at + 4, self->head_bytes, (size_t)self->head_size);
    memcpy(at + 4 + self->head_size, payload, (size_t)size);
    memset(at + 4 + body, 0, (size_t)(4 * words - body));
    page->used = end;
    page->last_ns = ts_ns;
    return 1;
}

static int put_into_tail(const Appender *self, long long ts_ns, const char *payload, Py_ssize_t size)
{
    int done = 0;
    PyObject *tail = self->ring->must_stamp ? NULL : attribute((PyObject *)self->ring, tail_name, page_state_type);
    PyObject *bytes = tail ? attribute(tail, page_name, &PyByteArray_Type) : NULL;
    if (bytes)
        done = put_short(self, (PageState *)tail, bytes, ts_ns, payload, size);
    Py_XDECREF(bytes);
    Py_XDECREF(tail);
    if (done) {
        self->ring->tail_entries++;
        self->ring->entries++;
    }
    return done;
}

/* The way of every other record: the ring's own `write`. */
static int put_slowly(const Appender *self, PyObject *stamp, const char *payload, Py_ssize_t size)
{
    PyObject *body = PyBytes_FromStringAndSize(NULL, self->head_size + size), *done = NULL;
    PyObject *write = PyObject_GetAttrString((PyObject *)self->ring, "write");
    if (body && write) {
        memcpy(PyBytes_AsString(body), self->head_bytes, (size_t)self->head_size);
        memcpy(PyBytes_AsString(body) + self->head_size, payload, (size_t)size);
        PyObject *arguments = PyTuple_Pack(2, stamp, body), *named = Py_BuildValue("{sO}", "overwrite", self->overwrite);
        if (arguments && named)
            done = PyObject_Call(write, arguments, named);
        Py_XDECREF(arguments);
        Py_XDECREF(named);
    }
    Py_XDECREF(body);
    Py_XDECREF(write);
    Py_XDECREF(done);
    return done ? 0 : -1;
}

static int content(PyObject *payload, const char **data, Py_ssize_t *size)
{
    if (PyBytes_Check(payload)) {
        *data = PyBytes_AsString(payload);
        *size = PyBytes_Size(payload);
    } else if (PyByteArray_Check(payload)) {
        *data = PyByteArray_AsString(payload);
        *size = PyByteArray_Size(payload);
    } else {
        PyErr_SetString(PyExc_TypeError, "a payload is bytes or a bytearray");
        return -1;
    }
    return 0;
}

static PyObject *append(PyObject *object, PyObject *payload)
{
    const Appender *self = (const Appender *)object;
    const char *data;
    Py_ssize_t size;
    if (content(payload, &data, &size) < 0)
        return NULL;
    if (size < self->smallest || size > self->largest)
        return Py_NewRef(Py_False);
    PyObject *stamp = PyObject_CallNoArgs(self->now);
    if (!stamp)
        return NULL;
    int overflow = 0, failed = 0;
    long long ts_ns = PyLong_AsLongLongAndOverflow(stamp, &overflow);
    if (ts_ns == -1 && PyErr_Occurred())
        failed = -1;
    else if (overflow || !put_into_tail(self, ts_ns, data, size))
        failed = put_slowly(self, stamp, data, size);
    Py_DECREF(stamp);
    return failed ? NULL : Py_NewRef(Py_True);
}

static PyMethodDef append_definition = {"append", append, METH_O, "Take the payload of a record; False if it cannot be."};

PyObject *appender(PyObject *module, PyObject *args)
{
    PyObject *ring, *now, *head, *overwrite;
    Py_ssize_t smallest, largest;
    (void)module;
    if (!PyArg_ParseTuple(args, "O!OO!nnO:appender", ring_state_type, &ring, &now, &PyBytes_Type, &head, &smallest,
                          &largest, &overwrite))
        return NULL;
    if ((!tail_name && !(tail_name = PyUnicode_InternFromString("_tail")))
        || (!page_name && !(page_name = PyUnicode_InternFromString("_page"))))
        return NULL;
    Appender *self = new_object(appender_type);
    if (!self)
        return NULL;
    self->ring = (RingState *)Py_NewRef(ring);
    self->now = Py_NewRef(now);
    self->head = Py_NewRef(head);
    self->overwrite = Py_NewRef(overwrite);
    self->head_bytes = PyBytes_AsString(head);
    self->head_size = PyBytes_Size(head);
    self->smallest = smallest;
    self->largest = largest;
    PyObject *method = PyCFunction_NewEx(&append_definition, (PyObject *)self, NULL);
    Py_DECREF(self);
    return method;
}
