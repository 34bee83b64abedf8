// Sends Objective-C messages from plain C++, through the runtime's C interface. So the build needs no Objective-C
// compiler and no SDK. The same code runs on Linux over the tests' own runtime (native/test/metal/fake).
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>

namespace hearth::objc {

struct Object;
typedef Object* id;
struct ClassObject;
typedef ClassObject* Class;
struct SelectorName;
typedef SelectorName* SEL;
typedef uintptr_t NSUInteger;
typedef intptr_t NSInteger;
struct MTLSize {
  NSUInteger width, height, depth;
};

struct Runtime {
  Class (*get_class)(const char* name) = nullptr;
  SEL (*selector)(const char* name) = nullptr;
  void* message_send = nullptr;     ///< objc_msgSend; nullptr where `error` says why there is none
  id (*create_device)() = nullptr;  ///< MTLCreateSystemDefaultDevice
  /// Only the tests' runtime has this: returns the encoding of a method's types, or nullptr where the object has no
  /// such method.
  const char* (*encoding)(id, SEL) = nullptr;
  /// Only the tests' runtime has this: tells how many bytes a kernel may touch from the offset that
  /// setBuffer:offset:atIndex: was just given.
  void (*buffer_extent)(id encoder, NSUInteger index, size_t bytes) = nullptr;
  std::string error;  ///< why there is no Metal here
};
/// The runtime of objc_runtime.cpp, or in tests the fake one.
const Runtime& runtime();

/// A type as a method's encoding has it, which is what clang's @encode writes.
template <class T> struct Encoding;
#define HEARTH_ENCODING(type, text)            \
  template <> struct Encoding<type> {          \
    static constexpr const char* value = text; \
  };
HEARTH_ENCODING(void, "v")
HEARTH_ENCODING(id, "@")
HEARTH_ENCODING(Class, "#")
HEARTH_ENCODING(SEL, ":")
HEARTH_ENCODING(bool, "B")
HEARTH_ENCODING(double, "d")
HEARTH_ENCODING(NSInteger, "q")
HEARTH_ENCODING(NSUInteger, "Q")
HEARTH_ENCODING(int, "i")
HEARTH_ENCODING(unsigned, "I")
HEARTH_ENCODING(void*, "^v")
HEARTH_ENCODING(const void*, "r^v")
HEARTH_ENCODING(const char*, "r*")
HEARTH_ENCODING(id*, "^@")
HEARTH_ENCODING(MTLSize, "{?=QQQ}")
HEARTH_ENCODING(std::nullptr_t, "@?")
#undef HEARTH_ENCODING

template <size_t N> struct Selector {
  char text[N];
  constexpr Selector(const char (&from)[N]) {
    for (size_t i = 0; i < N; i++) text[i] = from[i];
  }
};

/// Sends a message: send<"selector:", Return>(receiver, arguments...). The types must be exactly those of the method's
/// declaration. The tests compare them with the encodings.
template <Selector S, class R = id, class T, class... A> inline R send(T receiver, A... arguments) {
  constexpr size_t colons = [] {
    size_t count = 0;
    for (const char c : S.text) count += c == ':';
    return count;
  }();
  static_assert(colons == sizeof...(A), "the selector takes another number of arguments");
  const Runtime& r = runtime();
  static const SEL selector = r.selector(S.text);
  if (r.encoding) {
    std::string called = std::string(Encoding<R>::value) + "@:";
    ((called += Encoding<A>::value), ...);
    const char* declared = r.encoding(reinterpret_cast<id>(receiver), selector);
    if (!declared || called != declared) {
      fprintf(stderr, "objc: %s called as %s, declared as %s\n", S.text, called.c_str(),
              declared ? declared : "(no such method)");
      abort();
    }
  }
  return reinterpret_cast<R (*)(T, SEL, A...)>(r.message_send)(receiver, selector, arguments...);
}
template <Selector S> inline bool responds(id object) {
  return send<"respondsToSelector:", bool>(object, runtime().selector(S.text));
}

/// Owns one reference to an object, and releases it at the end.
class Owned {
 public:
  Owned() = default;
  explicit Owned(id object) : object_(object) {}
  Owned(Owned&& other) noexcept : object_(other.object_) { other.object_ = nullptr; }
  Owned& operator=(Owned&& other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~Owned() {
    if (object_) send<"release", void>(object_);
  }
  id get() const { return object_; }
  explicit operator bool() const { return object_ != nullptr; }

 private:
  id object_ = nullptr;
};
/// A new reference to an object that is not ours.
inline Owned retained(id object) { return Owned(object ? send<"retain">(object) : nullptr); }
template <size_t N> inline Owned create(const char (&class_name)[N]) {
  return Owned(send<"init">(send<"alloc">(runtime().get_class(class_name))));
}

/// An object that the system hands out without a reference lives until the innermost pool ends.
class AutoreleasePool {
 public:
  AutoreleasePool() : pool_(send<"init">(send<"alloc">(runtime().get_class("NSAutoreleasePool")))) {}
  ~AutoreleasePool() { send<"drain", void>(pool_); }
  AutoreleasePool(const AutoreleasePool&) = delete;

 private:
  id pool_;
};

inline id ns_string(const char* text) { return send<"stringWithUTF8String:">(runtime().get_class("NSString"), text); }
inline std::string to_string(id ns_string) {
  const char* text = ns_string ? send<"UTF8String", const char*>(ns_string) : nullptr;
  return text ? text : "";
}

}  // namespace hearth::objc
