/* Copies from and to the memory of other processes: what `RemoteMemory` does by ctypes, whose conversions take longer.
 *
 * Nothing is judged here: addresses and sizes come checked, the kernel
 * checks whose memory it is. The GIL is given up meanwhile: a page may have to come from a disk. Limited API of 3.11.
 */
#define _GNU_SOURCE
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "../_module.h"

#define LARGEST 4096

typedef ssize_t Call(pid_t, const struct iovec *, unsigned long, const struct iovec *, unsigned long, unsigned long);

static ssize_t move(Call *call, int pid, void *here, size_t size, uint64_t addr, size_t first, uint64_t other)
{
    struct iovec ours = {here, size}, theirs[2] = {{(void *)(uintptr_t)addr, first}, {(void *)(uintptr_t)other, size - first}};
    ssize_t moved;
    Py_BEGIN_ALLOW_THREADS
    moved = call(pid, &ours, 1, theirs, size > first ? 2 : 1, 0);
    Py_END_ALLOW_THREADS
    return moved;
}

static int too_large(Py_ssize_t size)
{
    if (size >= 0 && size <= LARGEST)
        return 0;
    PyErr_Format(PyExc_ValueError, "%zd bytes; at most %d are moved at once", size, LARGEST);
    return 1;
}

static PyObject *read_one(PyObject *module, PyObject *args)
{
    int pid;
    unsigned long long addr;
    Py_ssize_t size;
    char data[LARGEST];
    (void)module;
    if (!PyArg_ParseTuple(args, "iKn:read", &pid, &addr, &size) || too_large(size))
        return NULL;
    if (size && move(process_vm_readv, pid, data, (size_t)size, addr, (size_t)size, 0) != size)
        return Py_NewRef(Py_None);
    return PyBytes_FromStringAndSize(data, size);
}

static PyObject *read_both(PyObject *module, PyObject *args)
{
    int pid;
    unsigned long long addr, other;
    Py_ssize_t size;
    char data[LARGEST + 1];
    (void)module;
    if (!PyArg_ParseTuple(args, "iKnK:read_both", &pid, &addr, &size, &other) || too_large(size))
        return NULL;
    if (move(process_vm_readv, pid, data, (size_t)size + 1, addr, (size_t)size, other) != size + 1)
        return Py_NewRef(Py_None);
    return Py_BuildValue("y#i", data, size, (unsigned char)data[size]);
}

static PyObject *write_one(PyObject *module, PyObject *args)
{
    int pid;
    unsigned long long addr;
    Py_ssize_t size;
    const char *data;
    (void)module;
    if (!PyArg_ParseTuple(args, "iKy#:write", &pid, &addr, &data, &size))
        return NULL;
    if (!size)
        return Py_NewRef(Py_True);
    return PyBool_FromLong(move(process_vm_writev, pid, (void *)(uintptr_t)data, (size_t)size, addr, (size_t)size, 0) == size);
}

static PyObject *write_both(PyObject *module, PyObject *args)
{
    int pid;
    unsigned char byte;
    unsigned long long addr, other;
    Py_ssize_t size;
    const char *more;
    char data[LARGEST + 1];
    (void)module;
    if (!PyArg_ParseTuple(args, "iKbKy#:write_both", &pid, &addr, &byte, &other, &more, &size) || too_large(size))
        return NULL;
    data[0] = (char)byte;
    memcpy(data + 1, more, (size_t)size);
    return PyBool_FromLong(move(process_vm_writev, pid, data, (size_t)size + 1, addr, 1, other) > 0);
}

/* struct user_reg, as far as the kernel reads it. */
typedef struct {
    uint32_t size;
    uint8_t bit, word_size;
    uint16_t flags;
    uint64_t addr, name;
} __attribute__((packed)) Reg;

static PyObject *read_registration(PyObject *module, PyObject *args)
{
    int pid;
    unsigned long long at;
    Py_ssize_t known, limit;
    Reg reg;
    char data[LARGEST + 1];
    (void)module;
    if (!PyArg_ParseTuple(args, "iKnn:read_registration", &pid, &at, &known, &limit) || too_large(known) || too_large(limit))
        return NULL;
    if (known < (Py_ssize_t)sizeof reg || at > INT64_MAX
        || move(process_vm_readv, pid, data, (size_t)known, at, (size_t)known, 0) != known)
        return Py_NewRef(Py_None);
    memcpy(&reg, data, sizeof reg);
    Py_ssize_t room = LARGEST - (Py_ssize_t)(reg.name % LARGEST);
    room = room < limit ? room : limit;
    if (reg.size != known || reg.name > INT64_MAX || reg.addr > INT64_MAX - UINT8_MAX
        || move(process_vm_readv, pid, data, (size_t)room + 1, reg.name, (size_t)room, reg.addr + (reg.bit >> 3)) != room + 1)
        return Py_NewRef(Py_None);
    const char *end = memchr(data, 0, (size_t)room);
    if (!end)
        return Py_NewRef(Py_None);
    return Py_BuildValue("iiiKNi", reg.bit, reg.word_size, reg.flags, (unsigned long long)reg.addr,
                         PyUnicode_DecodeLatin1(data, end - data, NULL), (unsigned char)data[room]);
}

static PyMethodDef module_methods[] = {
    {"read_registration", read_registration, METH_VARARGS,
     "What a user_reg says, its text, and the byte with its bit; None where that takes patience."},
    {"read", read_one, METH_VARARGS, "The bytes at an address of a process; None where not all can be read."},
    {"read_both", read_both, METH_VARARGS, "The bytes at an address and the byte at another; None where not all can be read."},
    {"write", write_one, METH_VARARGS, "Store bytes at an address; whether all were."},
    {"write_both", write_both, METH_VARARGS, "Store a byte at an address, then bytes at another; whether the byte was."},
    {NULL},
};
static struct PyModuleDef module_definition = {
    PyModuleDef_HEAD_INIT, "userevents.host._memory", "The memory of other processes.", -1, module_methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__memory(void)
{
    return module_if_wanted(&module_definition);
}
