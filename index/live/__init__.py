"""The platform's own facts as observations of its profile: counted, stored with their window, never counted again in place."""
