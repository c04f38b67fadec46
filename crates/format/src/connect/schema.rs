//! A Connect schema, and its text as JsonConverter writes it.
//!
//! Invariant: members come in the converter's order (`type`, what it contains, `optional`, `name`, `version`, `doc`,
//! `parameters`, `default`, `field`), so equal schemas have equal bytes. Start at [`Schema::text`].

use super::json::string;

/// What a value of a schema is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// 16 bits, signed.
    Int16,
    /// 32 bits, signed.
    Int32,
    /// 64 bits, signed.
    Int64,
    /// A 32-bit float.
    Float32,
    /// A 64-bit float.
    Float64,
    /// A truth value.
    Boolean,
    /// Text.
    String,
    /// Bytes, in base64.
    Bytes,
    /// Values of one schema.
    Array(Box<Schema>),
    /// Values by keys.
    Map(Box<Schema>, Box<Schema>),
    /// Named fields.
    Struct(Vec<Field>),
}

/// A Connect schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    /// What its values are.
    pub kind: Kind,
    /// Whether a value may be null.
    pub optional: bool,
    /// The name of the type, such as `io.debezium.time.Date`.
    pub name: Option<String>,
    /// The version of the type.
    pub version: Option<i32>,
    /// A comment.
    pub doc: Option<String>,
    /// Parameters, in the order in which they were put.
    pub parameters: Vec<(String, String)>,
    /// The default, as the text of its JSON.
    pub default: Option<Vec<u8>>,
}

/// A field of a struct.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its schema.
    pub schema: Schema,
}

impl Schema {
    /// A required, unnamed schema.
    pub fn new(kind: Kind) -> Schema {
        Schema { kind, optional: false, name: None, version: None, doc: None, parameters: Vec::new(), default: None }
    }

    /// A required schema with a name, version 1.
    pub fn named(kind: Kind, name: &str) -> Schema {
        Schema { name: Some(name.to_owned()), version: Some(1), ..Schema::new(kind) }
    }

    /// A struct of `fields`.
    pub fn structure(name: &str, version: Option<i32>, fields: Vec<Field>) -> Schema {
        Schema { name: Some(name.to_owned()), version, ..Schema::new(Kind::Struct(fields)) }
    }

    /// The same, but optional.
    pub fn optional(mut self) -> Schema {
        self.optional = true;
        self
    }

    /// The same with a comment.
    pub fn doc(mut self, doc: &str) -> Schema {
        self.doc = Some(doc.to_owned());
        self
    }

    /// The same with one more parameter.
    pub fn parameter(mut self, name: &str, value: impl ToString) -> Schema {
        self.parameters.push((name.to_owned(), value.to_string()));
        self
    }

    /// A field of this schema.
    pub fn field(self, name: &str) -> Field {
        Field { name: name.to_owned(), schema: self }
    }

    /// The schema as JSON.
    pub fn text(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out, None);
        out
    }

    fn write(&self, out: &mut Vec<u8>, field: Option<&str>) {
        out.extend_from_slice(b"{\"type\":\"");
        out.extend_from_slice(self.kind.name().as_bytes());
        out.push(b'"');
        self.kind.write_contents(out);
        out.extend_from_slice(if self.optional { b",\"optional\":true" } else { b",\"optional\":false" });
        if let Some(name) = &self.name {
            out.extend_from_slice(b",\"name\":");
            string(out, name);
        }
        if let Some(version) = self.version {
            out.extend_from_slice(format!(",\"version\":{version}").as_bytes());
        }
        if let Some(doc) = &self.doc {
            out.extend_from_slice(b",\"doc\":");
            string(out, doc);
        }
        for (index, (name, value)) in self.parameters.iter().enumerate() {
            out.extend_from_slice(if index == 0 { b",\"parameters\":{" } else { b"," });
            string(out, name);
            out.push(b':');
            string(out, value);
        }
        if !self.parameters.is_empty() {
            out.push(b'}');
        }
        if let Some(default) = &self.default {
            out.extend_from_slice(b",\"default\":");
            out.extend_from_slice(default);
        }
        if let Some(field) = field {
            out.extend_from_slice(b",\"field\":");
            string(out, field);
        }
        out.push(b'}');
    }
}

impl Kind {
    /// The name that the converter gives it.
    pub fn name(&self) -> &'static str {
        match self {
            Kind::Int16 => "int16",
            Kind::Int32 => "int32",
            Kind::Int64 => "int64",
            Kind::Float32 => "float",
            Kind::Float64 => "double",
            Kind::Boolean => "boolean",
            Kind::String => "string",
            Kind::Bytes => "bytes",
            Kind::Array(_) => "array",
            Kind::Map(..) => "map",
            Kind::Struct(_) => "struct",
        }
    }

    fn write_contents(&self, out: &mut Vec<u8>) {
        match self {
            Kind::Array(items) => {
                out.extend_from_slice(b",\"items\":");
                items.write(out, None);
            }
            Kind::Map(keys, values) => {
                out.extend_from_slice(b",\"keys\":");
                keys.write(out, None);
                out.extend_from_slice(b",\"values\":");
                values.write(out, None);
            }
            Kind::Struct(fields) => {
                out.extend_from_slice(b",\"fields\":[");
                for (index, field) in fields.iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    field.schema.write(out, Some(&field.name));
                }
                out.push(b']');
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn members_come_in_the_order_of_the_converter() {
        let decimal = Schema::named(Kind::Bytes, "org.apache.kafka.connect.data.Decimal").parameter("scale", 2);
        let mut price = decimal.parameter("connect.decimal.precision", 8).doc("what it \"costs\"");
        price.default = Some(b"\"AA==\"".to_vec());
        let tags = Schema::new(Kind::Array(Box::new(Schema::new(Kind::String).optional())));
        let map = Kind::Map(Box::new(Schema::new(Kind::String)), Box::new(Schema::new(Kind::String).optional()));
        let fields = vec![price.field("price"), tags.field("tags"), Schema::new(map).optional().field("more")];
        let text = Schema::structure("a.b.Value", None, fields).optional().text();
        expect![[r#"{"type":"struct","fields":[{"type":"bytes","optional":false,"name":"org.apache.kafka.connect.data.Decimal","version":1,"doc":"what it \"costs\"","parameters":{"scale":"2","connect.decimal.precision":"8"},"default":"AA==","field":"price"},{"type":"array","items":{"type":"string","optional":true},"optional":false,"field":"tags"},{"type":"map","keys":{"type":"string","optional":false},"values":{"type":"string","optional":true},"optional":true,"field":"more"}],"optional":true,"name":"a.b.Value"}"#]]
        .assert_eq(std::str::from_utf8(&text).unwrap());
    }
}
