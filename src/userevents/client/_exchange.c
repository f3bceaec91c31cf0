/*
 * An HTTP request while it is recorded: client/exchange.py once more, which says what it does.
 *
 * An exchange stands in for the channel that an application answers through (`send`, `start_response`): a call looks
 * for the status among what is told, and goes on with the same arguments.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stddef.h>
#include <stdint.h>
#include <structmember.h>
#include <time.h>

#include "_exchange.h"

/* What 3.12's stable ABI has and 3.11 has too, without saying so. */
#define HAVE_VECTORCALL (1UL << 11)
#define ARGUMENTS_OFFSET ((size_t)1 << (8 * sizeof(size_t) - 1))
typedef PyObject *(*vectorcall_t)(PyObject *, PyObject *const *, size_t, PyObject *);
PyAPI_FUNC(PyObject *) PyVectorcall_Call(PyObject *callable, PyObject *tuple, PyObject *dict);
PyAPI_FUNC(PyObject *) PyObject_Vectorcall(PyObject *callable, PyObject *const *args, size_t flagged, PyObject *names);

typedef struct {
    PyObject_HEAD
    vectorcall_t vectorcall;
    PyObject *number, *method, *path;
    PyObject *channel;
    PyObject *status; /* a number, or the line of WSGI that begins with one; NULL before any was told */
    uint64_t began;
} Exchange;

static uint64_t
monotonic_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Take a status over; steals the reference, NULL for none. */
static void
set_status(Exchange *self, PyObject *status)
{
    PyObject *before = self->status;
    self->status = status;
    Py_XDECREF(before);
}

/* Look for a status in what the application tells: WSGI's line, each of which counts, or ASGI's first one. */
static int
look_for_status(Exchange *self, PyObject *told)
{
    if (PyUnicode_Check(told)) {
        set_status(self, Py_NewRef(told));
        return 0;
    }
    if (self->status != NULL) {
        return 0;
    }
    if (PyDict_CheckExact(told)) {
        ModuleState *state = PyType_GetModuleState(Py_TYPE((PyObject *)self));
        PyObject *found = PyDict_GetItemWithError(told, state->status_key);
        if (found != NULL) {
            set_status(self, Py_NewRef(found));
        }
        return found == NULL && PyErr_Occurred() ? -1 : 0;
    }
    PyObject *found = PyObject_CallMethod(told, "get", "s", "status");
    if (found == NULL) {
        return -1;
    }
    set_status(self, found == Py_None ? NULL : Py_NewRef(found));
    Py_DECREF(found);
    return 0;
}

static PyObject *
exchange_call(PyObject *op, PyObject *const *args, size_t flagged, PyObject *names)
{
    Exchange *self = (Exchange *)op;
    if ((flagged & ~ARGUMENTS_OFFSET) > 0 && look_for_status(self, args[0]) < 0) {
        return NULL;
    }
    PyObject *channel = Py_NewRef(self->channel); /* what it calls may end the exchange */
    PyObject *result = PyObject_Vectorcall(channel, args, flagged & ~ARGUMENTS_OFFSET, names);
    Py_DECREF(channel);
    return result;
}

/* Return the number of a status, 0 where there is none. */
static PyObject *
status_number(PyObject *status)
{
    if (status == NULL) {
        return PyLong_FromLong(0);
    }
    if (!PyUnicode_Check(status)) {
        return Py_NewRef(status);
    }
    long number = 0;
    for (Py_ssize_t at = 0; at < 3; at++) {
        Py_UCS4 digit = at < PyUnicode_GetLength(status) ? PyUnicode_ReadChar(status, at) : 0;
        if (digit < '0' || digit > '9') {
            return PyLong_FromLong(0);
        }
        number = number * 10 + (long)(digit - '0');
    }
    return PyLong_FromLong(number);
}

static PyObject *
exchange_end(PyObject *op, PyObject *const *args, Py_ssize_t given)
{
    Exchange *self = (Exchange *)op;
    if (given != 2) {
        return PyErr_Format(PyExc_TypeError, "end() takes an event and an error, not %zd arguments", given);
    }
    PyObject *status = status_number(self->status);
    PyObject *duration = PyLong_FromUnsignedLongLong(monotonic_ns() - self->began);
    PyObject *result = NULL;
    if (status != NULL && duration != NULL) {
        PyObject *values[] = {self->number, status, duration, self->method, self->path, args[1]};
        result = PyObject_Vectorcall(args[0], values, 6, NULL);
    }
    Py_XDECREF(status);
    Py_XDECREF(duration);
    return result;
}

PyObject *
begin_exchange(PyObject *module, PyObject *const *args, Py_ssize_t given)
{
    if (given != 5) {
        return PyErr_Format(PyExc_TypeError, "begin_exchange() takes 5 arguments, not %zd", given);
    }
    Exchange *self = PyObject_GC_New(Exchange, (PyTypeObject *)((ModuleState *)PyModule_GetState(module))->exchange_type);
    if (self == NULL) {
        return NULL;
    }
    self->vectorcall = exchange_call;
    self->number = Py_NewRef(args[1]);
    self->method = Py_NewRef(args[2]);
    self->path = Py_NewRef(args[3]);
    self->channel = Py_NewRef(args[4]);
    self->status = NULL;
    PyObject_GC_Track((PyObject *)self);
    PyObject *told = PyObject_Vectorcall(args[0], args + 1, 3, NULL);
    if (told == NULL) {
        Py_DECREF((PyObject *)self);
        return NULL;
    }
    Py_DECREF(told);
    self->began = monotonic_ns();
    return (PyObject *)self;
}

static int
exchange_traverse(Exchange *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE((PyObject *)self));
    Py_VISIT(self->number);
    Py_VISIT(self->method);
    Py_VISIT(self->path);
    Py_VISIT(self->channel);
    Py_VISIT(self->status);
    return 0;
}

static void
exchange_dealloc(Exchange *self)
{
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    PyObject_GC_UnTrack((PyObject *)self);
    Py_DECREF(self->number);
    Py_DECREF(self->method);
    Py_DECREF(self->path);
    Py_DECREF(self->channel);
    Py_XDECREF(self->status);
    PyObject_GC_Del(self);
    Py_DECREF((PyObject *)type);
}

static PyMethodDef exchange_methods[] = {
    {"end", (PyCFunction)(void (*)(void))exchange_end, METH_FASTCALL,
     "end(event, error)\n--\n\nWrite the event of the request's end."},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef exchange_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(Exchange, vectorcall), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot exchange_slots[] = {
    {Py_tp_dealloc, exchange_dealloc},
    {Py_tp_traverse, exchange_traverse},
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_methods, exchange_methods},
    {Py_tp_members, exchange_members},
    {0, NULL},
};

static PyType_Spec exchange_spec = {
    .name = "userevents.client.exchange.Exchange",
    .basicsize = sizeof(Exchange),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION | HAVE_VECTORCALL,
    .slots = exchange_slots,
};

/* Make the type; the module's `exec` calls it. */
int
exchange_exec(PyObject *module)
{
    ModuleState *state = PyModule_GetState(module);
    state->status_key = PyUnicode_InternFromString("status");
    state->exchange_type = PyType_FromModuleAndSpec(module, &exchange_spec, NULL);
    return state->status_key == NULL || state->exchange_type == NULL ? -1 : 0;
}
