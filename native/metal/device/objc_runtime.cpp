// Opens the system's Objective-C runtime and Metal. This is the one file of the Metal backend that never runs in tests,
// because the fake Metal replaces it. The addon links neither library. So it loads on any system and can say why there
// is no Metal.
#include "objc_runtime.h"

#ifdef __APPLE__
#include <dlfcn.h>
#endif

namespace hearth::objc {

static Runtime open() {
  Runtime r;
#ifdef __APPLE__
  void* objc = dlopen("/usr/lib/libobjc.A.dylib", RTLD_LAZY);
  void* foundation = dlopen("/System/Library/Frameworks/Foundation.framework/Foundation", RTLD_LAZY);
  // Without CoreGraphics the system has no default device for programs that have no window.
  void* graphics = dlopen("/System/Library/Frameworks/CoreGraphics.framework/CoreGraphics", RTLD_LAZY);
  void* metal = dlopen("/System/Library/Frameworks/Metal.framework/Metal", RTLD_LAZY);
  if (!objc || !foundation || !graphics || !metal) {
    const char* error = dlerror();
    r.error = error ? error : "Metal could not be opened";
    return r;
  }
  r.get_class = reinterpret_cast<Class (*)(const char*)>(dlsym(objc, "objc_getClass"));
  r.selector = reinterpret_cast<SEL (*)(const char*)>(dlsym(objc, "sel_registerName"));
  r.create_device = reinterpret_cast<id (*)()>(dlsym(metal, "MTLCreateSystemDefaultDevice"));
  r.message_send = dlsym(objc, "objc_msgSend");
#else
  r.error = "Metal is part of macOS only";
#endif
  return r;
}

const Runtime& runtime() {
  static const Runtime r = open();
  return r;
}

}  // namespace hearth::objc
