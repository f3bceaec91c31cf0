/* How modules in C begin, apart from the client's, which has slots: whether they are wanted, and what they need no GIL
 * for. */
#ifndef USEREVENTS_MODULE_H
#define USEREVENTS_MODULE_H

#include <Python.h>
#include <stdlib.h>
#include <string.h>

/* A new module; NULL with an ImportError where USEREVENTS_NATIVE=0 asks for the twins in Python. */
static inline PyObject *module_if_wanted(struct PyModuleDef *definition)
{
    const char *wish = getenv("USEREVENTS_NATIVE");
    if (wish && !strcmp(wish, "0")) {
        PyErr_SetString(PyExc_ImportError, "USEREVENTS_NATIVE=0 asks for pure Python");
        return NULL;
    }
    PyObject *module = PyModule_Create(definition);
#ifdef Py_GIL_DISABLED
    if (module)
        PyUnstable_Module_SetGIL(module, Py_MOD_GIL_NOT_USED);
#endif
    return module;
}

#endif
