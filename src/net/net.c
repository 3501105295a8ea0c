#include <shortrun/net.h>
