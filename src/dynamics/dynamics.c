#include <shortrun/dynamics.h>
