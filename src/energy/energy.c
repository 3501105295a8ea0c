#include <shortrun/energy.h>
