/* Plain writes served without a line of Python: the native form of what `Writes` does with most requests.
 *
 * A write that is whole, small, and of an event whose short way is known is read, taken and answered here. Every other
 * request is left in the buffer and its size returned: writes.py and door.py are the reference for what is done with
 * it, and serve all without this. What is known holds as in writes.py: until anybody has had the tree's lock.
 *
 * Plain C, limited API of 3.11. Requests come from the kernel, but sizes are checked as anybody's.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../_module.h"

#define WRITE 16
#define INDEX_SIZE 4
#define SLOTS 256
#define WAYS 4 /* slots that a short way may be in */

/* struct fuse_in_header, then struct fuse_write_in; struct fuse_out_header, then struct fuse_write_out. */
typedef struct {
    uint32_t length, opcode;
    uint64_t unique, node;
    uint32_t uid, gid, tid;
    uint16_t extensions, padding;
    uint64_t fh, offset;
    uint32_t size, write_flags;
    uint64_t lock_owner;
    uint32_t flags, padding2;
} Write;

typedef struct {
    uint32_t length;
    int32_t error;
    uint64_t unique;
    uint32_t size, padding;
} Written;

_Static_assert(sizeof(Write) == 80 && sizeof(Written) == 24, "no padding of the compiler's");

typedef struct {
    uint64_t fh;
    int32_t index;
    uint32_t tid;
    PyObject *sink; /* NULL: a free slot */
} Slot;

typedef struct {
    PyObject_HEAD
    int fd;
    Py_ssize_t largest; /* bytes of a write that may be the first part of no other */
    Py_buffer buffer;
    PyObject *lock, *acquire, *release, *channel;
    long long turns; /* of the lock, when the slots were filled */
    Slot slots[SLOTS];
} Plain;

static PyObject *turns_name;

static void forget(Plain *self)
{
    for (int number = 0; number < SLOTS; number++)
        Py_CLEAR(self->slots[number].sink);
}

static Slot *place_of(Plain *self, uint64_t fh, int32_t index, uint32_t tid)
{
    uint64_t mixed = (fh * 31 + (uint32_t)index) * 31 + tid;
    return &self->slots[mixed * WAYS % SLOTS];
}

static Slot *find(Plain *self, uint64_t fh, int32_t index, uint32_t tid)
{
    Slot *slot = place_of(self, fh, index, tid);
    for (int way = 0; way < WAYS; way++, slot++)
        if (slot->sink && slot->fh == fh && slot->index == index && slot->tid == tid)
            return slot;
    return NULL;
}

/* Forget what was known if anybody has had the tree's lock since; -1 on failure. */
static int refresh(Plain *self)
{
    PyObject *turns = PyObject_GetAttr(self->lock, turns_name);
    long long now = turns ? PyLong_AsLongLong(turns) : -1;
    Py_XDECREF(turns);
    if (now == -1 && PyErr_Occurred())
        return -1;
    if (now != self->turns)
        forget(self);
    self->turns = now;
    return 0;
}

static PyObject *keep(PyObject *object, PyObject *args)
{
    Plain *self = (Plain *)object;
    unsigned long long fh;
    unsigned int tid;
    int index;
    PyObject *sink;
    if (!PyArg_ParseTuple(args, "KiIO:keep", &fh, &index, &tid, &sink) || refresh(self) < 0)
        return NULL;
    Slot *slot = find(self, fh, index, tid);
    if (!slot) {
        slot = place_of(self, fh, index, tid);
        for (int way = 0; way < WAYS - 1 && slot->sink; way++)
            slot++;
    }
    PyObject *before = slot->sink;
    *slot = (Slot){fh, index, tid, Py_NewRef(sink)};
    Py_XDECREF(before);
    return Py_NewRef(Py_None);
}

/* What `Writes` would answer to a write whose event failed: the error is taken out of the interpreter. */
static PyObject *failure(Plain *self, uint64_t unique)
{
    PyObject *type, *error, *trace;
    PyErr_Fetch(&type, &error, &trace);
    PyErr_NormalizeException(&type, &error, &trace);
    PyObject *number = PyLong_FromUnsignedLongLong(unique), *name = PyUnicode_FromString("failure"), *answer = NULL;
    if (number && name)
        answer = PyObject_CallMethodObjArgs(self->channel, name, number, error, NULL);
    Py_XDECREF(number);
    Py_XDECREF(name);
    Py_XDECREF(type);
    Py_XDECREF(error);
    Py_XDECREF(trace);
    return answer;
}

/* Send an answer; what the kernel says to it that is not 0 is the channel's. */
static int send(Plain *self, const void *answer, size_t size)
{
    ssize_t sent;
    Py_BEGIN_ALLOW_THREADS
    sent = write(self->fd, answer, size);
    Py_END_ALLOW_THREADS
    if (sent >= 0)
        return 0;
    PyObject *done = PyObject_CallMethod(self->channel, "send", "y#", (const char *)answer, (Py_ssize_t)size);
    Py_XDECREF(done);
    return done ? 0 : -1;
}

/* Hand a payload to its short way, under the tree's lock: 1 it was taken, 0 there is none, -1 it failed. */
static int hand_over(Plain *self, const Write *asked, int32_t index, const char *payload)
{
    int taken = 0;
    PyObject *held = PyObject_CallNoArgs(self->acquire);
    if (!held)
        return -1;
    Py_DECREF(held);
    Slot *slot = refresh(self) < 0 ? NULL : find(self, asked->fh, index, asked->tid);
    if (PyErr_Occurred())
        taken = -1;
    if (slot) {
        PyObject *sink = Py_NewRef(slot->sink), *result = NULL;
        PyObject *data = PyBytes_FromStringAndSize(payload, (Py_ssize_t)asked->size - INDEX_SIZE);
        if (data)
            result = PyObject_CallFunctionObjArgs(sink, data, NULL);
        taken = result ? PyObject_IsTrue(result) : -1;
        Py_XDECREF(data);
        Py_XDECREF(result);
        Py_DECREF(sink);
    }
    PyObject *type, *error, *trace;
    PyErr_Fetch(&type, &error, &trace);
    PyObject *let_go = PyObject_CallNoArgs(self->release);
    Py_XDECREF(let_go);
    if (let_go)
        PyErr_Restore(type, error, trace);
    return let_go ? taken : -1;
}

/* Serve the request in the buffer if it is a plain write: 1 it was, 0 it is left, -1 nothing more can be done. */
static int serve_write(Plain *self, ssize_t size)
{
    Write asked;
    int32_t index;
    const char *data = (const char *)self->buffer.buf + sizeof asked;
    if (size < (ssize_t)(sizeof asked + sizeof index))
        return 0;
    memcpy(&asked, self->buffer.buf, sizeof asked);
    if (asked.opcode != WRITE || asked.offset || asked.size < sizeof index || asked.size >= self->largest
        || sizeof asked + asked.size > (size_t)size)
        return 0;
    memcpy(&index, data, sizeof index);
    int taken = hand_over(self, &asked, index, data + sizeof index);
    if (taken > 0) {
        Written answer = {sizeof answer, 0, asked.unique, asked.size, 0};
        return send(self, &answer, sizeof answer) < 0 ? -1 : 1;
    }
    if (!taken)
        return 0;
    char *bytes;
    Py_ssize_t length;
    PyObject *answer = failure(self, asked.unique);
    int done = answer && PyBytes_AsStringAndSize(answer, &bytes, &length) == 0 && send(self, bytes, (size_t)length) == 0;
    Py_XDECREF(answer);
    return done ? 1 : -1;
}

static PyObject *serve(PyObject *object, PyObject *ignored)
{
    Plain *self = (Plain *)object;
    (void)ignored;
    for (;;) {
        ssize_t size;
        Py_BEGIN_ALLOW_THREADS
        size = read(self->fd, self->buffer.buf, (size_t)self->buffer.len);
        Py_END_ALLOW_THREADS
        if (size < 0)
            return PyErr_SetFromErrno(PyExc_OSError);
        int served = serve_write(self, size);
        if (served <= 0)
            return served ? NULL : PyLong_FromSsize_t(size);
    }
}

static PyObject *plain_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    int fd;
    Py_ssize_t largest;
    PyObject *buffer, *lock, *channel, *raw = NULL;
    if (keywords || !PyArg_ParseTuple(args, "iOOOn:PlainWrites", &fd, &buffer, &lock, &channel, &largest))
        return NULL;
    Plain *self = (Plain *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
    if (!self)
        return NULL;
    self->fd = fd;
    self->largest = largest;
    self->turns = -1;
    self->lock = Py_NewRef(lock);
    self->channel = Py_NewRef(channel);
    if ((raw = PyObject_GetAttrString(lock, "raw"))) {
        self->acquire = PyObject_GetAttrString(raw, "acquire");
        self->release = PyObject_GetAttrString(raw, "release");
    }
    Py_XDECREF(raw);
    if (!self->acquire || !self->release || PyObject_GetBuffer(buffer, &self->buffer, PyBUF_WRITABLE) < 0)
        Py_CLEAR(self);
    return (PyObject *)self;
}

static void plain_dealloc(Plain *self)
{
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    forget(self);
    if (self->buffer.obj)
        PyBuffer_Release(&self->buffer);
    Py_CLEAR(self->lock);
    Py_CLEAR(self->acquire);
    Py_CLEAR(self->release);
    Py_CLEAR(self->channel);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static PyMethodDef plain_methods[] = {
    {"serve", serve, METH_NOARGS, "Serve plain writes; return the size of the first request that is not one."},
    {"keep", keep, METH_VARARGS, "Keep the short way of a thread's writes to an open file with one index."},
    {NULL},
};
static PyType_Slot plain_slots[] = {
    {Py_tp_new, plain_new}, {Py_tp_dealloc, plain_dealloc}, {Py_tp_methods, plain_methods}, {0, NULL},
};
static PyType_Spec plain_spec = {
    "userevents.doors.fuse._serve.PlainWrites", sizeof(Plain), 0, Py_TPFLAGS_DEFAULT, plain_slots,
};

static struct PyModuleDef module_definition = {
    PyModuleDef_HEAD_INIT, "userevents.doors.fuse._serve", "Plain writes, served in C.", -1, NULL, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__serve(void)
{
    PyObject *module = module_if_wanted(&module_definition);
    if (!module)
        return NULL;
    PyObject *type = PyType_FromSpec(&plain_spec);
    turns_name = PyUnicode_InternFromString("turns");
    if (!type || !turns_name || PyModule_AddType(module, (PyTypeObject *)type) < 0)
        Py_CLEAR(module);
    Py_XDECREF(type);
    return module;
}
