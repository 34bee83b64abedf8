// An Objective-C runtime in C++. Classes are tables of methods with their declared types. Objects count references.
#pragma once

#include <mutex>
#include <string>
#include <type_traits>

#include "../../../metal/device/objc_runtime.h"

namespace hearth::fake {

/// Ends the process, because the host code did what it must not do.
[[noreturn]] void mistake(const std::string& what);

struct Object {
  const char* class_name = nullptr;
  int references = 1;
  virtual ~Object() = default;
  /// Called at the last release. The object itself stays as a tombstone, so that messages to it are noticed.
  virtual void end() {}
};
struct String : Object {
  std::string text;
};
struct Error : Object {
  std::string text;
};

void add_object(Object*);
bool is_live(const Object*);
Object* retain(Object*);
void release(Object*);
Object* autorelease(Object*);

template <class T> T* make(const char* class_name) {
  auto* object = new T();
  object->class_name = class_name;
  add_object(object);
  return object;
}
/// The object as a T; a mistake if it is nil, freed or another class.
template <class T> T* as(Object* object) {
  if (!object) mistake("nil where an object must be");
  if (!is_live(object)) mistake(std::string("use of a freed object of class ") + object->class_name);
  auto* right = dynamic_cast<T*>(object);
  if (!right) mistake(std::string("an object of the wrong class: ") + object->class_name);
  return right;
}

/// The lock is held while a method runs, because host code may use several threads.
std::recursive_mutex& lock();

namespace detail {
template <class T> struct TypeEncoding : objc::Encoding<T> {};
template <> struct TypeEncoding<Object*> : objc::Encoding<objc::id> {};
template <> struct TypeEncoding<Object**> : objc::Encoding<objc::id*> {};

template <auto F> struct Method;
template <class R, class Self, class... A, R (*F)(Self, objc::SEL, A...)> struct Method<F> {
  static R call(Self self, objc::SEL selector, A... arguments) {
    const std::lock_guard guard(lock());
    return F(self, selector, arguments...);
  }
  static std::string encoding() {
    std::string text = std::string(TypeEncoding<R>::value) + "@:";
    ((text += TypeEncoding<A>::value), ...);
    return text;
  }
};
void add_method(const std::string& class_name, const char* selector, void* function, const char* declared,
                const std::string& encoding, bool of_class);
void add_factory(const char* class_name, Object* (*create)());
}  // namespace detail

/// Declares a method with the type encoding of Apple's header. F must have the same types.
template <auto F> void method(const char* class_name, const char* selector, const char* declared) {
  detail::add_method(class_name, selector, reinterpret_cast<void*>(detail::Method<F>::call), declared,
                     detail::Method<F>::encoding(), false);
}
template <auto F> void class_method(const char* class_name, const char* selector, const char* declared) {
  detail::add_method(class_name, selector, reinterpret_cast<void*>(detail::Method<F>::call), declared,
                     detail::Method<F>::encoding(), true);
}
/// A class whose objects the host makes with alloc and init.
template <class T> void creatable(const char* class_name) {
  static const char* name = class_name;
  detail::add_factory(class_name, [] { return static_cast<Object*>(make<T>(name)); });
}

/// Methods of every object, and autorelease pools.
void declare_foundation();
/// The runtime's entry points.
objc::Runtime objective_c();

}  // namespace hearth::fake
